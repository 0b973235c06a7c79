//go:build race

package chaos_test

// slower is how much more time nodes give each other under the race detector, which slows them down.
const slower = 3
