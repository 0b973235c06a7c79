package harness

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Join has one more machine join the cluster of a node, with the command that is printed there and without the
// cluster's secret, and returns its node when that takes pushes.
func Join(t testing.TB, at *Node, p Plan) *Node {
	t.Helper()
	ports, number := FreePorts(t, 2), len(*at.cluster)
	n := newNode(at.binary, filepath.Dir(at.file), number, local(ports[0]), at.cluster)
	secret, between := n.file+".secret", local(ports[1])
	n.prepare(t, map[string]any{"name": "e2e", "node": n.Name, "listen": between, "advertise": between, "secretFile": secret}, p)
	printed, err := at.Zot(t, "cluster", "token")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(printed) // zot cluster join ADDRESS --token T --config FILE
	if len(words) != 8 {
		t.Fatalf("zot cluster token printed %q", printed)
	}
	joined := begin(t, n.Name+"-join", syscall.SIGINT, exec.CommandContext(outlasting(t), n.binary, append(words[1:7:7], n.file)...))
	Until(t, "the secret is handed over", func(context.Context) error {
		if _, err := os.Stat(secret); err != nil {
			return err
		}
		return unlocked(filepath.Join(n.Root, "node", "lock"))
	})
	n.Serve(t)
	*at.cluster = append(*at.cluster, n)
	WaitWritable(t, n)
	select {
	case <-joined.Ended():
	case <-time.After(patience):
		t.Fatalf("zot cluster join has not ended %s after %s takes pushes", patience, n.Name)
	}
	verifyAtEnd(t, at)
	return n
}

// unlocked fails while a process holds a lock.
func unlocked(file string) error {
	lock, err := os.Open(file)
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // nothing was written
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
