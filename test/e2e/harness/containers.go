package harness

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Container is a node in a container, with a host name and a volume. The nodes speak to each other over
// a network of their own, and serve clients over another, so that each can be cut off from the others
// and still be asked.
type Container struct {
	*Node
	engine    *Engine
	create    []string // what docker makes it from
	id, peers string
}

// peersDomain makes the names of the nodes on their own network others than their host names, which the
// engine's name server knows on both.
const peersDomain = ".peers"

// StartContainers runs a cluster of count nodes in containers of an image that is made from the binary
// under test as a user would, and returns them when all take pushes.
func StartContainers(t testing.TB, engine *Engine, dockerfile string, count int) []*Container {
	t.Helper()
	label := "zot-e2e=" + strconv.Itoa(os.Getpid()) + "-" + strings.ToLower(filepath.Base(t.Name()))
	engine.RemoveAtEnd(t, label)
	image := engine.Feed(t, buildContext(t, dockerfile, Program(t, "ZOT")), "build", "--quiet", "--label", label, "-")
	// Without icc=false the nodes could reach each other there too.
	clients := engine.Run(t, "network", "create", "--opt", "com.docker.network.bridge.enable_icc=false", "--label", label, name(label, "clients"))
	peers := engine.Run(t, "network", "create", "--internal", "--label", label, name(label, "peers"))
	dir := t.TempDir()
	secret := Secret(t, dir)
	var members []string
	for i := range count {
		members = append(members, "zot-"+strconv.Itoa(i)+peersDomain+":7373")
	}
	file := filepath.Join(dir, "config.json") // one for all: each node is called as its host is
	WriteConfig(t, file, "/var/lib/zot", "0.0.0.0:5000", map[string]any{
		"name": "containers", "listen": "0.0.0.0:7373", "members": members, "secretFile": "/etc/zot/secret",
	})
	ports := FreePorts(t, count)
	var all []*Container
	var nodes []*Node
	for i := range count {
		host := "zot-" + strconv.Itoa(i)
		volume := engine.Run(t, "volume", "create", "--label", label)
		c := &Container{Node: &Node{Name: host, Address: local(ports[i])}, engine: engine, peers: peers}
		c.create = []string{
			"create", "--label", label, "--hostname", host, "--network", clients, "--publish", c.Address + ":5000",
			"--volume", volume + ":/var/lib/zot", "--volume", file + ":/etc/zot/config.json:ro", "--volume", secret + ":/etc/zot/secret:ro",
			image, "serve", "/etc/zot/config.json", "--drain-wait", "0s",
		}
		c.id = engine.Run(t, c.create...)
		c.Connect(t)
		engine.Run(t, "start", c.id)
		t.Cleanup(func() { c.show(t) })
		all, nodes = append(all, c), append(nodes, c.Node)
	}
	WaitWritable(t, nodes...)
	t.Cleanup(func() {
		Verify(t, engine.command(outlasting(t), "exec", all[0].id, "/usr/bin/zot", "cluster", "verify", "--config", "/etc/zot/config.json"))
	})
	return all
}

// Disconnect takes the node off the network between nodes. Its clients still reach it.
func (c *Container) Disconnect(t testing.TB) {
	t.Helper()
	c.engine.Run(t, "network", "disconnect", c.peers, c.id)
}

// Connect undoes Disconnect.
func (c *Container) Connect(t testing.TB) {
	t.Helper()
	c.engine.Run(t, "network", "connect", "--alias", c.Name+peersDomain, c.peers, c.id)
}

// Replace kills and removes the container, and starts another one on its volume. It is not on the network between
// nodes before Connect.
func (c *Container) Replace(t testing.TB) {
	t.Helper()
	c.engine.Run(t, "rm", "--force", c.id)
	c.id = c.engine.Run(t, c.create...)
	c.engine.Run(t, "start", c.id)
}

// Leader is the name of the node that leads, as this one knows.
func (c *Container) Leader(t testing.TB) string {
	t.Helper()
	var status struct{ Leader string }
	Until(t, c.Name+" knows who leads", func(context.Context) error {
		text, err := output(t, c.engine.command(t.Context(), "exec", c.id, "/usr/bin/zot", "cluster", "status", "--json", "--config", "/etc/zot/config.json"))
		if err == nil {
			err = json.Unmarshal([]byte(text), &status)
		}
		if err == nil && status.Leader == "" {
			err = errors.New("nobody leads")
		}
		return err
	})
	return status.Leader
}

// show prints the end of the node's log if the test has failed.
func (c *Container) show(t testing.TB) {
	t.Helper()
	if !t.Failed() {
		return
	}
	out, err := c.engine.command(outlasting(t), "logs", c.id).CombinedOutput()
	lines := strings.SplitAfter(string(out), "\n")
	t.Logf("%s: the last of its %d lines (%v):\n%s", c.Name, len(lines), err, strings.Join(lines[max(0, len(lines)-lastLines):], ""))
	if err := keep(t.Name(), c.Name+".log", out); err != nil {
		t.Error(err)
	}
}

// name is what something labelled is called: names of networks are for the whole engine.
func name(label, what string) string { return strings.ReplaceAll(label, "=", "-") + "-" + what }

// buildContext is what `docker build` reads: the Dockerfile and the binary.
func buildContext(t testing.TB, dockerfile, binary string) io.Reader {
	t.Helper()
	r, w := io.Pipe()
	go func() { // ends when docker has read it all
		archive := tar.NewWriter(w)
		err := errors.Join(addFile(archive, "Dockerfile", dockerfile), addFile(archive, "zot", binary), archive.Close())
		_ = w.CloseWithError(err) // never fails
	}()
	return r
}

func addFile(archive *tar.Writer, name, path string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(body))}); err != nil {
		return err
	}
	_, err = archive.Write(body)
	return err
}
