package pushes_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/powerfs"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// machine has a disk, and a node that runs on it.
type machine struct {
	name, address   string
	disk, mnt, file string

	fs    *powerfs.FS // nil while it is off
	cmd   *exec.Cmd
	ended chan struct{}
	log   *tail
}

// newMachines are three machines with empty disks, without power.
func newMachines(t *testing.T) (all []*machine) {
	t.Helper()
	ports, outside := harness.FreePorts(t, 6), t.TempDir()
	secret := harness.Secret(t, outside)
	var members []string
	for _, port := range ports[3:] {
		members = append(members, local(port))
	}
	for i, member := range members {
		name := "n" + strconv.Itoa(i)
		m := &machine{name: name, address: local(ports[i]), disk: crashfs.TempDir(t), mnt: shortDir(t), file: filepath.Join(outside, name+".json")}
		harness.WriteConfig(t, m.file, filepath.Join(m.mnt, "root"), m.address, map[string]any{
			"name": "crash", "node": name, "listen": member, "advertise": member, "members": members, "secretFile": secret,
		})
		t.Cleanup(func() {
			if m.fs != nil {
				_, _ = m.fs.Cut() // the test has failed
				m.down(t)
			}
		})
		all = append(all, m)
	}
	return all
}

// shortDir is a mount point: the path of the operator's socket below it must be short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zot-power-") //nolint:usetesting // its path is shorter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	return dir
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// boot switches the power on and starts the node.
func (m *machine) boot(t *testing.T, seed int64) {
	t.Helper()
	fs, err := powerfs.Mount(m.disk, m.mnt, seed)
	if err != nil {
		t.Fatal(err)
	}
	m.fs, m.log, m.ended = fs, &tail{}, make(chan struct{})
	m.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), harness.Program(t, "ZOT"), "serve", m.file, "--drain-wait", "0s")
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // waited for through ended
		defer close(m.ended)
		_ = m.cmd.Wait() // killed, mostly
	}()
}

// ready waits until the node takes pushes.
func (m *machine) ready(t *testing.T) {
	t.Helper()
	harness.Until(t, m.name+" takes pushes", func(ctx context.Context) error {
		select {
		case <-m.ended:
			t.Fatalf("%s has ended by itself:\n%s", m.name, m.log)
		default:
		}
		return harness.Probe(ctx, "http://"+m.address+"/readyz?for=write")
	})
}

// down ends the node of a machine whose power was cut, and takes the mount away.
func (m *machine) down(t *testing.T) {
	t.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
	<-m.ended
	if err := m.fs.Unmount(); err != nil {
		t.Errorf("%s: %v", m.name, err)
	}
	m.fs = nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps some of what it is given.
func (t *tail) Write(b []byte) (int, error) {
	const most = 16 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > most {
		t.text = append([]byte(nil), t.text[len(t.text)-most:]...)
	}
	return len(b), nil
}

// String is that end.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// requestTimeout bounds a client's request: a node whose disk has failed may not answer.
const requestTimeout = 20 * time.Second
