// Package bench measures whole nodes as processes: how long a cluster is without a leader that takes
// writes after one dies or is stopped, and what a start costs in time and memory.
//
// The test binary starts itself again as a node (child_test.go). Run it with
//
//	go test ./test/bench -bench . -benchtime 1x
package bench

import (
	"fmt"
	"os"
	"testing"
)

// childEnv names the directory of a node; a process that has it is one.
const childEnv = "ZOT_BENCH_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
