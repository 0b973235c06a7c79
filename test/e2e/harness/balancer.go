package harness

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Balancer is HAProxy before some nodes.
type Balancer struct {
	Address string
	process *Process
}

// Balance runs HAProxy before the nodes until the test ends, as a configuration file that users have
// says; only addresses, and where it logs to, are the test's own.
func Balance(t testing.TB, file string, nodes ...*Node) *Balancer {
	t.Helper()
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal("haproxy is not installed: run make e2e-deps")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b := &Balancer{Address: local(FreePorts(t, 1)[0])}
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, n.Address)
	}
	own := write(t, filepath.Join(t.TempDir(), "haproxy.cfg"), readdress(string(text), b.Address, addresses))
	// -db: in the foreground, in one process.
	b.process = begin(t, "haproxy", syscall.SIGTERM, exec.CommandContext(outlasting(t), haproxy, "-db", "-f", own))
	Until(t, "haproxy passes requests on", func(ctx context.Context) error {
		return probe(ctx, nodes[0].Client(), nodes[0].at(b.Address, "/readyz?for=write"))
	})
	return b
}

// readdress puts other addresses into a configuration, and a section "global" that runs anywhere.
// Servers beyond the addresses are left out of each backend.
func readdress(config, listen string, servers []string) string {
	out := []string{"global", "    log stdout format raw local0", "    maxconn 2000"}
	section, server := "", 0
	for line := range strings.Lines(config) {
		line = strings.TrimRight(line, "\r\n")
		words := strings.Fields(line)
		if len(words) > 0 && line[0] != ' ' && line[0] != '\t' && line[0] != '#' {
			section, server = words[0], 0
		}
		switch {
		case section == "global" || len(words) == 0:
			continue
		case words[0] == "bind":
			line = "    bind " + listen
		case words[0] == "server" && server == len(servers):
			continue
		case words[0] == "server":
			words[2] = servers[server]
			server++
			line = "    " + strings.Join(words, " ")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n"
}

// WaitState waits until HAProxy has noticed that a server, written as backend/server, is "UP" or "DOWN".
func (b *Balancer) WaitState(t testing.TB, server, state string) {
	t.Helper()
	Until(t, fmt.Sprintf("haproxy takes %s for %s", server, state), func(context.Context) error {
		text, err := os.ReadFile(b.process.log)
		if err != nil {
			return err
		}
		last := "UP" // before the first change
		for _, m := range regexp.MustCompile(`Server (\S+) is (UP|DOWN)`).FindAllStringSubmatch(string(text), -1) {
			if m[1] == server {
				last = m[2]
			}
		}
		if last != state {
			return fmt.Errorf("it is %s", last)
		}
		return nil
	})
}

// Request is one request that went through the balancer.
type Request struct {
	Server string
	Status int
	Method string
	Path   string // with its query
}

// Requests are those that have ended so far and were answered.
func (b *Balancer) Requests(t testing.TB) []Request {
	t.Helper()
	text, err := os.ReadFile(b.process.log)
	if err != nil {
		t.Fatal(err)
	}
	return requests(string(text))
}

// requests reads what `option httplog` writes.
func requests(log string) []Request {
	logged := regexp.MustCompile(` [^ /]+/([^ /]+) [-0-9/+]+ (-?\d+) [+]?\d+ .*"([A-Z]+) ([^ "]+)`)
	var all []Request
	for _, m := range logged.FindAllStringSubmatch(log, -1) {
		status, err := strconv.Atoi(m[2])
		if err == nil && status > 0 {
			all = append(all, Request{Server: m[1], Status: status, Method: m[3], Path: m[4]})
		}
	}
	return all
}

// EveryServer sees to it that each node has got requests, and that none of them failed. Balance has asked whether pushes are
// taken: it may be told for a while that they are not.
func (b *Balancer) EveryServer(t testing.TB, nodes []*Node) {
	t.Helper()
	servers := map[string]int{}
	for _, r := range b.Requests(t) {
		if strings.HasPrefix(r.Path, "/readyz") {
			continue
		}
		servers[r.Server]++
		if r.Status >= http.StatusInternalServerError {
			t.Errorf("%s %s: status %d from %s", r.Method, r.Path, r.Status, r.Server)
		}
	}
	delete(servers, "<NOSRV>") // clients that try TLS first
	if len(servers) != len(nodes) {
		t.Errorf("requests per server: %v, want some at each of %d", servers, len(nodes))
	}
}

// Await returns those that a test wants of the requests in the log, when there are so many at least. HAProxy writes a request
// down when its client has the answer already, and not in order: the test goes by nothing else.
func (b *Balancer) Await(t testing.TB, count int, what string, wanted func(Request) bool) (all []Request) {
	t.Helper()
	Until(t, fmt.Sprintf("%d %s stand in the log", count, what), func(context.Context) error {
		all = slices.DeleteFunc(b.Requests(t), func(r Request) bool { return !wanted(r) })
		if len(all) < count {
			return fmt.Errorf("%d do", len(all))
		}
		return nil
	})
	return all
}

// WaitRequest waits until a request like the wanted one stands in the log: a method, a part of the
// path and a status.
func (b *Balancer) WaitRequest(t testing.TB, method, part string, status int) {
	t.Helper()
	Until(t, fmt.Sprintf("%s ...%s... with status %d", method, part, status), func(context.Context) error {
		for _, r := range b.Requests(t) {
			if r.Method == method && r.Status == status && strings.Contains(r.Path, part) {
				return nil
			}
		}
		return fmt.Errorf("it is not among %d requests", len(b.Requests(t)))
	})
}
