package harness

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engine is a Docker engine.
type Engine struct {
	host string // DOCKER_HOST of an engine of the test's own; "" for the one that docker finds
}

// StartEngine finds the Docker engine that runs, or runs one until the test ends, with a directory of
// its own. Main sees to it that it changes nothing else.
func StartEngine(t testing.TB) *Engine {
	t.Helper()
	Program(t, "ZOT") // nothing is started for a test that will be skipped
	if _, err := exec.LookPath("docker"); err != nil {
		t.Fatal("docker is not installed: run make e2e-deps")
	}
	e := &Engine{}
	if e.asks(t.Context()) == nil {
		return e
	}
	dockerd, err := exec.LookPath("dockerd")
	if err != nil || os.Getenv(inNamespace) == "" {
		t.Fatal("no Docker engine runs, and this user cannot run one: start it, or be root and run make e2e-deps")
	}
	dir, err := os.MkdirTemp("", "zot-engine-") //nolint:usetesting // a socket in it must have a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		err := os.RemoveAll(dir)
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = os.RemoveAll(dir) {
			<-again.C // what the engine has started may end after it, and write until then
		}
		if err != nil {
			t.Error(err)
		}
	})
	e.host = "unix://" + filepath.Join(dir, "docker.sock")
	p := begin(t, "dockerd", syscall.SIGTERM, exec.CommandContext(outlasting(t), dockerd,
		"--host", e.host, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"--log-level", "warn"))
	Until(t, "the Docker engine answers", func(ctx context.Context) error {
		select {
		case <-p.Ended():
			t.Fatal("dockerd has ended")
		default:
		}
		return e.asks(ctx)
	})
	return e
}

// Certified returns an address at which the engine reaches a port of 127.0.0.1 as it does machines of others: over TLS with
// the certificates in its files. Show has it use others from then on. The test is skipped where the engine is not its own,
// and so are those files not.
func (e *Engine) Certified(t testing.TB, port int) (address string, show func(ca string, client Pair)) {
	t.Helper()
	if e.host == "" || os.Getenv(inNamespace) == "" {
		t.Skip("the certificates of an engine that runs are not the test's to change")
	}
	address = net.JoinHostPort(elsewhere, strconv.Itoa(newLine(t, elsewhere, port).Port))
	const all = "/etc/docker/certs.d" // the engine knows no other place
	dir := filepath.Join(all, address)
	clean := func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		clean()
		_ = os.Remove(all) // it stays if others have something in it
	})
	return address, func(ca string, client Pair) {
		clean()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"ca.crt": ca}
		if client != (Pair{}) {
			files["client.cert"], files["client.key"] = client.Cert, client.Key
		}
		for name, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), string(text))
		}
	}
}

// asks fails if the engine does not answer.
func (e *Engine) asks(ctx context.Context) error {
	return e.command(ctx, "version", "--format", "{{.Server.Version}}").Run()
}

func (e *Engine) command(ctx context.Context, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", arguments...)
	cmd.Env = e.environment()
	return cmd
}

func (e *Engine) environment() []string {
	if e.host == "" {
		return os.Environ()
	}
	return append(os.Environ(), "DOCKER_HOST="+e.host)
}

// Run has the engine do something, and returns what docker printed.
func (e *Engine) Run(t testing.TB, arguments ...string) string {
	t.Helper()
	return e.Feed(t, nil, arguments...)
}

// Feed is Run for what docker reads from its standard input.
func (e *Engine) Feed(t testing.TB, stdin io.Reader, arguments ...string) string {
	t.Helper()
	cmd := e.command(t.Context(), arguments...)
	cmd.Stdin = stdin
	out, err := output(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// Try is Run for what may fail.
func (e *Engine) Try(t testing.TB, arguments ...string) error {
	t.Helper()
	_, err := output(t, e.command(t.Context(), arguments...))
	return err
}

// Forget removes images from the engine, so that the next pull brings all of them. That one is not there
// is no fault.
func (e *Engine) Forget(t testing.TB, images ...string) {
	t.Helper()
	for _, image := range images {
		_, err := output(t, e.command(outlasting(t), "rmi", "--force", image))
		if err != nil && !strings.Contains(err.Error(), "No such image") {
			t.Error(err)
		}
	}
}

// Read has docker write something to its standard output, and hands it to read as it comes.
func (e *Engine) Read(t testing.TB, read func(io.Reader) error, arguments ...string) {
	t.Helper()
	cmd := e.command(t.Context(), arguments...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = read(out)
	_, drained := io.Copy(io.Discard, out) // so that docker does not wait for a reader
	if err := errors.Join(err, drained, cmd.Wait()); err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(arguments, " "), err, complaints.String())
	}
}

// RemoveAtEnd removes what carries the label when the test ends, also when it is killed: containers with
// their volumes, networks, volumes and images.
func (e *Engine) RemoveAtEnd(t testing.TB, label string) {
	t.Helper()
	const script = `read -r _
l="label=$1"
for c in $(docker ps -aq --filter "$l"); do docker rm -fv "$c"; done
for n in $(docker network ls -q --filter "$l"); do docker network rm "$n"; done
for v in $(docker volume ls -q --filter "$l"); do docker volume rm -f "$v"; done
for i in $(docker images -aq --filter "$l"); do docker rmi -f "$i"; done`
	cmd := exec.CommandContext(outlasting(t), "sh", "-c", script, "sh", label)
	cmd.Env = e.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not end it
	alive, err := cmd.StdinPipe()                         // closed by the kernel when the test dies
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(alive.Close(), cmd.Wait()); err != nil {
			t.Errorf("remove what is labelled %s: %v", label, err)
		}
	})
}
