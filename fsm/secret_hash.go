package fsm

import "crypto/sha256"

// SecretHash is the SHA-256 of a secret that only its bearer has: a session's cookie, an API key. The
// state never holds the secret itself, so a backup or a stolen disk opens no door.
type SecretHash [sha256.Size]byte

// HashSecret returns the SecretHash of a secret. Secrets are long and random: no salt is needed.
func HashSecret(secret string) SecretHash { return sha256.Sum256([]byte(secret)) }

// dateKey is a calendar date as a part of a key: earlier ones sort first, and none before 1970 is.
func dateKey(date int64) string { return number(uint64(max(0, date))) }
