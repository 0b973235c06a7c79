package harness

import (
	"os/exec"
	"testing"
)

// verifyAtEnd has the nodes checked against each other, and their disks, when a test has ended well and all of
// them run.
func verifyAtEnd(t testing.TB, nodes []*Node) {
	t.Helper()
	t.Cleanup(func() {
		for _, n := range nodes {
			select {
			case <-n.process.Ended():
				return
			default:
			}
		}
		Verify(t, exec.CommandContext(outlasting(t), nodes[0].binary, "cluster", "verify", "--config", nodes[0].file))
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
