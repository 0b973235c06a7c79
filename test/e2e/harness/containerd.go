package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// Containerd is containerd without the engine around it, as Kubernetes has it.
type Containerd struct {
	socket string
	count  atomic.Int64
}

// StartContainerd runs it until the test ends, with a directory of its own. Only root can.
func StartContainerd(t testing.TB) *Containerd {
	t.Helper()
	Program(t, "ZOT") // nothing is started for a test that will be skipped
	if os.Geteuid() != 0 {
		t.Skip("only root can run containerd")
	}
	dir, err := os.MkdirTemp("", "zot-containerd-") //nolint:usetesting // a socket in it must have a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c := &Containerd{socket: filepath.Join(dir, "socket")}
	// Isolated: what one client has pulled is not there for another.
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.socket)
	file := write(t, filepath.Join(dir, "config.toml"), config)
	begin(t, "containerd", syscall.SIGTERM, exec.CommandContext(outlasting(t), find(t, "containerd"), "--config", file))
	ctr := find(t, "ctr")
	Until(t, "containerd answers", func(ctx context.Context) error {
		return exec.CommandContext(ctx, ctr, "--address", c.socket, "--connect-timeout", "1s", "version").Run()
	})
	return c
}

// Puller is a client of Containerd: it has what it has pulled itself, and knows one registry.
type Puller struct {
	with      *Containerd
	namespace string
	hosts     string // a directory
}

// Puller returns one for a registry at an address. CA is a file of who has signed the certificate that the registry shows,
// "" if it shows none; shows is what it shows itself, if anything.
func (c *Containerd) Puller(t testing.TB, address, ca string, shows Pair) *Puller {
	t.Helper()
	p := &Puller{with: c, namespace: "e2e-" + strconv.FormatInt(c.count.Add(1), 10), hosts: t.TempDir()}
	at := "http://" + address
	if ca != "" {
		at = "https://" + address
	}
	config := fmt.Sprintf("server = %q\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n", at)
	if ca != "" {
		config += fmt.Sprintf("  ca = %q\n", ca)
	}
	if shows != (Pair{}) {
		config += fmt.Sprintf("  client = [[%q, %q]]\n", shows.Cert, shows.Key)
	}
	dir := filepath.Join(p.hosts, address)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "hosts.toml"), config)
	return p
}

// Pull pulls an image, as who has a name and a password, written as "name:password"; "" is nobody.
func (p *Puller) Pull(t testing.TB, name, user string) error {
	t.Helper()
	_, err := p.ctr(t, p.registry("pull", user, "--snapshotter", "native", name)...)
	return err
}

// Push is Pull the other way.
func (p *Puller) Push(t testing.TB, name, user string) error {
	t.Helper()
	_, err := p.ctr(t, p.registry("push", user, name)...)
	return err
}

// Import has it know the images of a layout, by names that begin with one and end with the layout's tags.
func (p *Puller) Import(t testing.TB, layout, name string) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "layout.tar")
	Run(t, "tar", "-C", layout, "-cf", archive, ".")
	if _, err := p.ctr(t, "images", "import", "--no-unpack", "--base-name", name, archive); err != nil {
		t.Fatal(err)
	}
}

// Has is the digests of all that it has, each of which containerd has compared with its bytes.
func (p *Puller) Has(t testing.TB) []string {
	t.Helper()
	out, err := p.ctr(t, "content", "ls", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)
}

func (p *Puller) registry(do, user string, more ...string) []string {
	arguments := []string{"images", do, "--hosts-dir", p.hosts}
	if user != "" {
		arguments = append(arguments, "--user", user)
	}
	return append(arguments, more...)
}

func (p *Puller) ctr(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	return TryRun(t, find(t, "ctr"), append([]string{"--address", p.with.socket, "--namespace", p.namespace}, arguments...)...)
}
