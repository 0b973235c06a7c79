package crashfs

import (
	"os"
	"testing"
)

// TempDir returns a directory that is removed after the test, in memory where the system has such a file
// system. A crash point costs a tenth there: ext4 writes a file out when it is renamed over another.
func TempDir(tb testing.TB) string {
	tb.Helper()
	const memory = "/dev/shm"
	dir, err := os.MkdirTemp(memory, "crashfs") //nolint:usetesting // in memory, not where the test's own lies
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}
