package crash_test

import (
	"fmt"
	"os"
	"testing"
)

// nodeVariable makes a child of the test a node, and says which. What maps files of a mount must not be the
// process that serves it, and what is killed must be a process of its own.
const nodeVariable = "CRASH_TEST_NODE"

func TestMain(m *testing.M) {
	spec := os.Getenv(nodeVariable)
	if spec == "" {
		os.Exit(m.Run())
	}
	if err := runNode(spec); err != nil {
		fmt.Fprintln(os.Stderr, "the node ends:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
