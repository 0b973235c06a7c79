package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// TestLocal does what the first screen of the README says, in what a clone has after `make build`: one command
// starts three nodes, a push to one is pulled from another, Ctrl-C stops them in order, and whoever starts them
// again finds everything.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"run.sh", "node1.json", "node2.json", "node3.json"} {
		content, err := os.ReadFile(filepath.Join("../../deploy/local", name))
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, "deploy/local"), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "deploy/local", name), content, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "bin"), 0o700), os.Symlink(harness.Program(t, "ZOT"), filepath.Join(dir, "bin/zot"))); err != nil {
		t.Fatal(err)
	}
	one, _ := onePlatform(t, 500, 1<<20, 100)

	stop := startLocal(t, dir)
	crane(t, "push", one.Dir, "127.0.0.1:5001/team/app:1")
	same(t, "pushed to the first", craneLayout(t, "127.0.0.1:5003/team/app:1"), in(t, one.Dir))
	stop()
	stop = startLocal(t, dir)
	same(t, "after all were stopped", craneLayout(t, "127.0.0.1:5002/team/app:1"), in(t, one.Dir))
	stop()
}

// startLocal types `make run` and waits until it has told what to do next; stop is Ctrl-C.
func startLocal(t *testing.T, dir string) (stop func()) {
	t.Helper()
	said := filepath.Join(t.TempDir(), "said")
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the script has its own
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "deploy/local/run.sh")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // waited for by whoever stops it
	interrupt := func() error {
		_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended
		return <-ended
	}
	running := true
	t.Cleanup(func() {
		if running {
			_ = interrupt()
		}
		if text, err := os.ReadFile(said); err == nil && t.Failed() {
			t.Logf("run.sh said:\n%s", text)
		}
	})
	says := func(what ...string) error {
		text, err := os.ReadFile(said)
		for _, w := range what {
			if !bytes.Contains(text, []byte(w)) {
				err = errors.Join(err, errors.New("does not say "+w))
			}
		}
		return err
	}
	harness.Until(t, "three nodes serve", func(context.Context) error {
		return says("docker push 127.0.0.1:5001/team/app:1", "docker pull 127.0.0.1:5003/team/app:1", "leader", "Ctrl-C stops all three")
	})
	return func() {
		t.Helper()
		verify := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/zot"), "cluster", "verify", "--config", "deploy/local/node1.json")
		verify.Dir = dir
		harness.Verify(t, verify)
		running = false
		if err := errors.Join(interrupt(), says("stopping node1", "stopping node2", "stopping node3")); err != nil {
			t.Error(err)
		}
		for _, port := range []string{"5001", "5002", "5003"} {
			if err := harness.Probe(t.Context(), "http://127.0.0.1:"+port+"/livez"); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("port %s after Ctrl-C: %v", port, err)
			}
		}
	}
}
