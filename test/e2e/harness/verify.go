package harness

import (
	"os/exec"
	"testing"
)

// verifyAtEnd has the nodes of a cluster checked against each other, and their disks, when a test has ended well and all
// of them run. One of them is asked.
func verifyAtEnd(t testing.TB, asked *Node) {
	t.Helper()
	t.Cleanup(func() {
		for _, n := range *asked.cluster {
			select {
			case <-n.process.Ended():
				return
			default:
			}
		}
		Verify(t, exec.CommandContext(outlasting(t), asked.binary, "cluster", "verify", "--config", asked.file))
	})
}

// Verify runs 'zot cluster verify' at the end of a test, while all nodes run, and fails it if anything is broken or could
// not be checked.
func Verify(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if t.Failed() || t.Skipped() {
		return
	}
	out, err := output(t, cmd)
	if err != nil {
		t.Error(err)
		return
	}
	t.Logf("verified: %s", out)
}
