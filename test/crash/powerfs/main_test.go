package powerfs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/powerfs"
)

// workerVariable names the program that a child of the test is, instead of the tests. What maps files runs
// in a child: see the comment of the package.
const workerVariable = "POWERFS_TEST_WORKER"

func TestMain(m *testing.M) {
	name := os.Getenv(workerVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	workers := map[string]func(path string) error{
		"bolt":        func(path string) error { return boltWorker(path, false) },
		"bolt-nosync": func(path string) error { return boltWorker(path, true) },
		"bolt-verify": boltVerifyWorker,
		"coherence":   coherenceWorker,
		"map-write":   mapWriteWorker,
		"hold":        holdWorker,
	}
	if err := workers[name](os.Args[1]); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// worker is a child that uses a mount.
type worker struct {
	cmd   *exec.Cmd
	err   *bytes.Buffer // what it wrote to its standard error
	in    io.Writer
	lines *bufio.Scanner
}

func startWorker(t testing.TB, name, path string) *worker {
	t.Helper()
	// the test itself
	cmd := exec.CommandContext(t.Context(), os.Args[0], path)
	cmd.Env = append(os.Environ(), workerVariable+"="+name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe() // open until the child is waited for
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &worker{cmd: cmd, err: &stderr, in: in, lines: bufio.NewScanner(out)}
}

// line returns the next line that the child printed, or "" when it has ended.
func (w *worker) line() string {
	if !w.lines.Scan() {
		return ""
	}
	return w.lines.Text()
}

// kill ends the child, and returns the lines that it still had printed.
func (w *worker) kill() []string {
	_ = w.cmd.Process.Kill() // it may have ended by itself
	var rest []string
	for w.lines.Scan() {
		rest = append(rest, w.lines.Text())
	}
	_ = w.cmd.Wait() // killed, or failed because the power was cut
	return rest
}

// machine is a backing directory and where it is mounted.
type machine struct {
	t         testing.TB
	disk, mnt string
	fs        *powerfs.FS
	mounted   bool
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	if err := powerfs.Supported(); err != nil {
		t.Skip(err)
	}
	m := &machine{t: t, disk: crashfs.TempDir(t), mnt: t.TempDir()}
	t.Cleanup(func() {
		if m.mounted {
			_ = m.fs.Unmount() // the test has failed, or does not look at the disk any more
		}
	})
	return m
}

func (m *machine) boot(seed int64) {
	m.t.Helper()
	fs, err := powerfs.Mount(m.disk, m.mnt, seed)
	if err != nil {
		m.t.Fatal(err)
	}
	m.fs, m.mounted = fs, true
}

func (m *machine) unmount() {
	m.t.Helper()
	if err := m.fs.Unmount(); err != nil {
		m.t.Fatal(err)
	}
	m.mounted = false
}

// at is a path on the mount.
func (m *machine) at(name string) string { return filepath.Join(m.mnt, name) }

// left returns what the disk holds of a file, or "-" if it is not there.
func (m *machine) left(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.disk, name))
	if errors.Is(err, os.ErrNotExist) {
		return "-"
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// fsync syncs a file or a directory.
func fsync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func write(path, content string) error { return os.WriteFile(path, []byte(content), 0o600) }

func repeat(s string, n int) string { return strings.Repeat(s, n) }
