// Command zot is an OCI registry whose every node is a peer.
//
// This is the one package that knows all the others: it turns flags and the configuration file into
// parts, runs them together and drains them in order. Start with run.go, which reads as the
// architecture; command.go has the commands. It takes no part in the invariants itself, except that
// only here is decided in what order a node comes up and goes down.
package main

import "os"

// version is what this binary calls itself.
var version = "unknown" // the linker sets it

func main() {
	os.Exit(execute(os.Args[1:], surroundings{stdout: os.Stdout, stderr: os.Stderr, exit: os.Exit, version: version}))
}
