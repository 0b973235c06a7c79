// Package harness runs real programs for tests: nodes of a cluster, a load balancer before them, the
// Docker engine, and the clients that push and pull.
//
// Whatever it starts ends with the test, also when the test is killed. It knows the product only as a
// user does: by its command line, its configuration file and HTTP. Start with Start and Balance.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a program may take to start, and to stop. It only keeps a test from waiting for ever: a machine may
// have much else to do.
const patience = 3 * time.Minute

// lastLines is how much of a program's log a failed test shows. The whole of it is in RESULTS.
const lastLines = 60

// Process is a program that runs in the background.
type Process struct {
	name string
	log  string // its output
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// begin starts a program whose output goes to a log file. When the test ends, it is stopped by the
// signal farewell, and killed if that does not help; so it is when the test dies.
func begin(t testing.TB, name string, farewell syscall.Signal, cmd *exec.Cmd) *Process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: farewell, Setpgid: true} // Ctrl-C is for the test alone
	p := &Process{name: name, log: log.Name(), cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started) // Stop waits for it
	err = errors.Join(<-started, log.Close())
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.Stop(t, farewell)
		p.show(t)
	})
	return p
}

// run is the life of the program. The kernel takes the end of the thread that started it for the end
// of the test, so that thread waits for it.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// Signal sends the program a signal, if it still runs.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("%s: %v", p.name, err)
	}
}

// Stop ends the program with a signal and waits for it. One that does not end is killed, and the test
// fails.
func (p *Process) Stop(t testing.TB, s syscall.Signal) {
	t.Helper()
	p.Signal(t, s)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("%s has not ended %s after %v", p.name, patience, s)
		p.Signal(t, syscall.SIGKILL)
		<-p.done
	}
}

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// show prints the end of the log of a test that failed, and keeps all of it.
func (p *Process) show(t testing.TB) {
	t.Helper()
	if !t.Failed() {
		return
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
		return
	}
	lines := strings.SplitAfter(string(text), "\n")
	from := max(0, len(lines)-lastLines)
	t.Logf("%s ended with: %v; the last of its %d lines:\n%s", p.name, p.err, len(lines), strings.Join(lines[from:], ""))
	if err := keep(t.Name(), p.name+".log", text); err != nil {
		t.Error(err)
	}
}

// keep writes a file of a failed test where CI and people look for it.
func keep(test, name string, text []byte) error {
	results := os.Getenv("RESULTS")
	if results == "" {
		return nil
	}
	dir := filepath.Join(results, "e2e", filepath.FromSlash(test))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o600)
}

// Run runs a program to its end, returns what it printed, and fails the test if it fails.
func Run(t testing.TB, program string, arguments ...string) string {
	t.Helper()
	out, err := TryRun(t, program, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryRun runs a program to its end, and returns what it wrote to its standard output. The error has that too,
// and its complaints.
func TryRun(t testing.TB, program string, arguments ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	return output(t, cmd)
}

func output(t testing.TB, cmd *exec.Cmd) (string, error) {
	t.Helper()
	runtime.LockOSThread() // as in run
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	line := filepath.Base(cmd.Path) + " " + strings.Join(cmd.Args[1:], " ")
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", line, err, out.String(), complaints.String())
	}
	t.Logf("%6.2fs  %s", time.Since(begun).Seconds(), line)
	return out.String(), nil
}

// outlasting is a context for what must go on until the test's cleanup ends it.
func outlasting(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }
