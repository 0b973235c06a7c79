package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Node is one node as its clients and its operator see it.
type Node struct {
	Name    string
	Address string // host:port where clients are served
	Root    string // its directory

	binary, file string
	client       *http.Client // speaks TLS to the node; nil: it is spoken to without
	process      *Process
	cluster      *[]*Node // all nodes of its cluster
}

// Plan is how a node differs from the others of its cluster.
type Plan struct {
	Cluster, Storage, HTTP map[string]any // more keys of these sections of its configuration
	Extensions             map[string]any // this section; nil: there is none
	Disk                   int64          // how many bytes its own file system has, which needs root; 0: it has none
	Client                 *http.Client   // speaks TLS to the node, for which HTTP has a certificate; nil: without TLS
}

// URL is where the node serves a path.
func (n *Node) URL(path string) string { return n.at(n.Address, path) }

// at is where a path is served at an address that leads to the node.
func (n *Node) at(address, path string) string {
	if n.client != nil {
		return "https://" + address + path
	}
	return "http://" + address + path
}

// Client is who can ask the node.
func (n *Node) Client() *http.Client {
	if n.client != nil {
		return n.client
	}
	return http.DefaultClient
}

// Log is all that the node has printed since it was started last.
func (n *Node) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(n.process.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Start runs a cluster of count nodes until the test ends, when they are verified, and returns them when all take
// pushes. One node is configured as users do who have no other: without the section "cluster".
func Start(t testing.TB, count int) []*Node {
	t.Helper()
	return StartWith(t, count, nil)
}

// StartWith is Start with more keys in the section "cluster" of every node.
func StartWith(t testing.TB, count int, keys map[string]any) []*Node {
	t.Helper()
	return StartEach(t, slices.Repeat([]Plan{{Cluster: keys}}, count)...)
}

// StartStored is Start with more keys in the section "storage" of every node.
func StartStored(t testing.TB, count int, storage map[string]any) []*Node {
	t.Helper()
	return StartEach(t, slices.Repeat([]Plan{{Storage: storage}}, count)...)
}

// StartEach is Start with a node for each plan.
func StartEach(t testing.TB, plans ...Plan) []*Node {
	t.Helper()
	nodes := configure(t, Program(t, "ZOT"), plans)
	for _, n := range nodes {
		n.Serve(t)
	}
	WaitWritable(t, nodes...)
	verifyAtEnd(t, nodes[0])
	return nodes
}

// StartConfigured runs a node alone until the test ends, with a configuration file that has an address, and returns it when
// it takes pushes, with what `zot verify` says of the file. Client speaks TLS to it; nil: the file has no certificate.
func StartConfigured(t testing.TB, file, address string, client *http.Client) (n *Node, verified string) {
	t.Helper()
	n = &Node{Name: "zot-0", Address: address, binary: Program(t, "ZOT"), file: file, client: client}
	n.cluster = &[]*Node{n}
	verified = Run(t, n.binary, "verify", n.file)
	n.Serve(t)
	WaitWritable(t, n)
	verifyAtEnd(t, n)
	return n, verified
}

// Serve starts a node that does not run.
func (n *Node) Serve(t testing.TB) {
	t.Helper()
	cmd := exec.CommandContext(outlasting(t), n.binary, "serve", n.file, "--drain-wait", "0s")
	n.process = begin(t, n.Name, syscall.SIGTERM, cmd)
}

// Stop ends the node in good order.
func (n *Node) Stop(t testing.TB) {
	t.Helper()
	n.process.Stop(t, syscall.SIGTERM)
}

// Kill ends the node as a crash does.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	n.process.Stop(t, syscall.SIGKILL)
}

// Zot runs `zot` with some arguments and the node's configuration, and returns what it printed.
func (n *Node) Zot(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	var complaints strings.Builder
	cmd := exec.CommandContext(t.Context(), n.binary, append(arguments, "--config", n.file)...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("zot %s: %w\n%s", strings.Join(arguments, " "), err, complaints.String())
	}
	return string(out), err
}

// configure lays out directories, a secret and configuration files.
func configure(t testing.TB, binary string, plans []Plan) []*Node {
	t.Helper()
	count := len(plans)
	// Not the test's own directory: a Unix socket in it must have a short path.
	root, err := os.MkdirTemp("", "zot-e2e-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	ports := FreePorts(t, 2*count)
	var nodes []*Node
	var members []string
	for i := range count {
		nodes = append(nodes, newNode(binary, root, i, local(ports[i]), &nodes))
		members = append(members, local(ports[count+i]))
	}
	secret := Secret(t, root)
	for i, n := range nodes {
		section := map[string]any{
			"name": "e2e", "node": n.Name, "listen": members[i], "advertise": members[i], "members": members, "secretFile": secret,
		}
		if count == 1 {
			section = nil
		}
		n.prepare(t, section, plans[i])
	}
	return nodes
}

func newNode(binary, dir string, number int, address string, of *[]*Node) *Node {
	name := "zot-" + strconv.Itoa(number)
	return &Node{
		Name: name, Address: address, binary: binary, file: filepath.Join(dir, name+".json"), Root: filepath.Join(dir, name), cluster: of,
	}
}

// prepare writes the configuration of a node, and gives it its disk.
func (n *Node) prepare(t testing.TB, cluster map[string]any, p Plan) {
	t.Helper()
	if cluster != nil {
		maps.Copy(cluster, p.Cluster)
	}
	n.client = p.Client
	writeConfig(t, n.file, n.Root, n.Address, cluster, p)
	if p.Disk > 0 {
		MountDisk(t, n.Root, p.Disk)
	}
}

// WriteConfig writes a node's configuration file. Without a section "cluster" the node has no others.
func WriteConfig(t testing.TB, file, root, address string, cluster map[string]any) {
	t.Helper()
	writeConfig(t, file, root, address, cluster, Plan{})
}

func writeConfig(t testing.TB, file, root, address string, cluster map[string]any, p Plan) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	storage := map[string]any{"rootDirectory": root}
	maps.Copy(storage, p.Storage)
	web := map[string]any{"address": host, "port": port}
	maps.Copy(web, p.HTTP)
	c := map[string]any{
		"distSpecVersion": "1.1.1",
		"storage":         storage,
		"http":            web,
	}
	if cluster != nil {
		c["cluster"] = cluster
	}
	if p.Extensions != nil {
		c["extensions"] = p.Extensions
	}
	writeFile(t, file, c)
}

func writeFile(t testing.TB, file string, config map[string]any) {
	t.Helper()
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Secret writes what the nodes share into a directory, and returns the file.
func Secret(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(strings.Repeat("a secret of the tests ", 3)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Program is a program whose path an environment variable says. Without it the test is skipped: then
// nobody has built what is to be tested.
func Program(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s does not say where the program is: make conformance and make e2e build it", variable)
	}
	return path
}

// FreePorts are ports of 127.0.0.1 at which nobody listens now, over TCP or UDP, and which nobody else gets while the test
// lasts: the kernel gives them to nobody by itself, and this function not once more. So a node that was killed finds its own
// free again, whatever other tests start meanwhile.
func FreePorts(t testing.TB, count int) []int {
	t.Helper()
	var ports []int
	for range 100 * count {
		port := 20_000 + rand.IntN(12_000)
		taken, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@zot-test-port-" + strconv.Itoa(port)}) // no file, but a name that other processes see
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = taken.Close() })
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		defer tcp.Close() //nolint:errcheck // held until all are found, so that none is found twice
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		defer udp.Close() //nolint:errcheck // as above
		if ports = append(ports, port); len(ports) == count {
			return ports
		}
	}
	t.Fatal("no ports are free")
	return nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
