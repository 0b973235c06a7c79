package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a node as a process of its own, started and ended as often as a test likes.
type process struct {
	t                        *testing.T
	name, root, file, secret string
	port                     string // of clients
	cmd                      *exec.Cmd
	out                      *output
	ended                    chan struct{}
}

// threeNodes are processes that are to form a cluster. None is started.
func threeNodes(t *testing.T) []*process {
	t.Helper()
	return threeNodesWith(t, "")
}

// threeNodesWith is threeNodes with more in the section "http" of each.
func threeNodesWith(t *testing.T, more string) []*process {
	t.Helper()
	ports := freePorts(t, 6)
	members := fmt.Sprintf(`"127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"`, ports[3], ports[4], ports[5])
	all := make([]*process, 3)
	for i := range all {
		p := &process{t: t, name: fmt.Sprintf("zot-%d", i), root: shortDir(t), port: ports[i]}
		p.secret = filepath.Join(t.TempDir(), "shared-secret")
		put(t, p.secret, line("a"), "")
		p.file = configIn(t, p.root, fmt.Sprintf(`, "http": {"port": %q%s}, "cluster": {"node": %q, "listen": "127.0.0.1:%s",
			"advertise": "127.0.0.1:%s", "members": [%s], "secretFile": %q}`, ports[i], more, p.name, ports[3+i], ports[3+i], members, p.secret))
		all[i] = p
	}
	t.Cleanup(func() {
		for _, p := range all {
			if p.cmd != nil {
				p.end(syscall.SIGKILL)
				if t.Failed() {
					t.Logf("%s:\n%s", p.name, p.out)
				}
			}
		}
	})
	return all
}

// start starts the process; it is not ready yet.
func (p *process) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), self, "serve", p.file, "--drain-wait", "0s")
	cmd.Env = append(os.Environ(), asZot+"=1")
	p.launch(cmd)
}

func (p *process) launch(cmd *exec.Cmd) {
	p.t.Helper()
	if p.out == nil {
		p.out = &output{}
	}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) { // waited for by end
		defer close(ended)
		_ = cmd.Wait() // how it ended stands in ProcessState
	}(p.ended)
}

// end sends a signal and waits; the exit code is -1 for a killed process.
func (p *process) end(s syscall.Signal) (code int) {
	p.t.Helper()
	p.signal(s)
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s goes on after %v", p.name, s)
		return 0
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// ready waits until the node says so.
func (p *process) ready(probe string) {
	p.t.Helper()
	said := ""
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s %s: %s", p.name, probe, said)
		}
	}()
	eventually(p.t, p.name+" is ready", func() bool {
		code, body := answers(p.t.Context(), p.port, probe)
		said = body
		return code == http.StatusOK
	})
}

// zot runs a command against the node.
func (p *process) zot(args ...string) called {
	return call(append(append([]string{"cluster"}, args...), "--config", p.file)...)
}

func (p *process) status() (s clusterStatus) {
	p.t.Helper()
	got := p.zot("status", "--json")
	if got.code != exitDone {
		p.t.Fatalf("%s: %+v", p.name, got)
	}
	if err := json.Unmarshal([]byte(got.stdout), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// whole waits until the node sees all three as members that answer, with a leader, and returns that.
func (p *process) whole() (s clusterStatus) {
	p.t.Helper()
	eventually(p.t, p.name+" sees three members", func() bool {
		s = p.status()
		members := 0
		for _, m := range s.Members {
			if m.State == "member" && m.Voter && m.Applied != nil {
				members++
			}
		}
		return members == 3 && len(s.Members) == 3 && s.Leader != "" && s.FailureTolerance == 1
	})
	return s
}

// named is the process of a name, and the others.
func named(all []*process, name string) (one *process, others []*process) {
	for _, p := range all {
		if p.name == name {
			one = p
		} else {
			others = append(others, p)
		}
	}
	return one, others
}

func restart(all []*process) {
	for _, p := range all {
		p.start()
	}
	for _, p := range all {
		p.ready("/readyz?for=write")
	}
}

func TestServeThreeNodes(t *testing.T) {
	t.Parallel()
	all := threeNodes(t)
	all[0].start()
	if code, body := waitFor(t, all[0], "/startupz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "1 of 3 nodes for the first start are there") {
		t.Errorf("the first of three nodes answers %d %s", code, body)
	}
	all[1].start()
	all[2].start()
	for _, p := range all {
		p.ready("/readyz?for=write")
	}
	eventually(t, "all say that the same node leads", func() bool {
		leader := all[0].whole().Leader
		return !slices.ContainsFunc(all[1:], func(p *process) bool { return p.whole().Leader != leader })
	})

	testTransfer(t, all)
	testKill(t, all)
	testRotate(t, all)
	testRemove(t, all)
	testHandOver(t, all)

	// All at once, and all again: who they are and what they know is still there.
	before := all[0].whole()
	for _, p := range all {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range all {
		if code := p.end(syscall.SIGTERM); code != exitDone {
			t.Errorf("%s ended with %d", p.name, code)
		}
	}
	restart(all)
	after := all[0].whole()
	for i, m := range after.Members {
		if m.Incarnation != before.Members[i].Incarnation || *m.Applied <= *before.Members[i].Applied {
			t.Errorf("before %+v, after %+v", before.Members[i], m)
		}
	}
}

// waitFor waits for any answer.
func waitFor(t *testing.T, p *process, path string) (code int, body string) {
	t.Helper()
	eventually(t, p.name+" answers", func() bool {
		code, body = answers(t.Context(), p.port, path)
		return code != 0 && !strings.Contains(body, `"not part of the cluster yet"`) // it has not looked yet
	})
	return code, body
}

func testTransfer(t *testing.T, all []*process) {
	t.Helper()
	leader, others := named(all, all[0].whole().Leader)
	moves := func(what, said string, do func() (called, bool)) { // on a busy machine nobody may take it in time, or somebody else
		t.Helper()
		eventually(t, what, func() bool {
			got, done := do()
			if got.code == exitDone && !strings.HasSuffix(got.stdout, said) || got.code != exitDone && got.code != exitFailed {
				t.Fatalf("%s: %+v", what, got)
			}
			if !done {
				t.Logf("%s: %+v", what, got)
			}
			return done
		})
	}
	moves("transfer to "+others[0].name, others[0].name+" leads\n", func() (called, bool) {
		got := others[1].zot("transfer", others[0].name)
		return got, got.code == exitDone
	})
	moves("transfer to anybody", " leads\n", func() (called, bool) {
		before := leader.whole().Leader
		got := leader.zot("transfer")
		return got, got.code == exitDone && got.stdout != before+" leads\n"
	})
	if got := leader.zot("transfer", "zot-9"); got.code != exitFailed || !strings.Contains(got.stderr, "zot-9") {
		t.Errorf("transfer to nobody: %+v", got)
	}
}

func testKill(t *testing.T, all []*process) {
	t.Helper()
	leader, others := named(all, all[0].whole().Leader)
	leader.end(syscall.SIGKILL)
	eventually(t, "another leads, and none may fail any more", func() bool {
		s := others[0].status()
		return s.Leader != "" && s.Leader != leader.name && s.FailureTolerance == 0
	})
	others[0].ready("/readyz?for=write")
	leader.start()
	leader.ready("/readyz?for=write")
	leader.whole()
}

// logged is when a node has logged a message, from a time on.
func (p *process) logged(message string, from time.Time) (at []time.Time) {
	p.t.Helper()
	for text := range strings.Lines(p.out.String()) {
		var line struct {
			Time    time.Time
			Message string
		}
		if err := json.Unmarshal([]byte(text), &line); err == nil && line.Message == message && line.Time.After(from) {
			at = append(at, line.Time)
		}
	}
	return at
}

// secrets is how often a node has taken a new secret into use.
func (p *process) secrets() int { return strings.Count(p.out.String(), `"secret changed"`) }

// testRotate appends a line, puts it first, and removes the old one, on nodes that serve meanwhile.
func testRotate(t *testing.T, all []*process) {
	t.Helper()
	for _, lines := range [][]string{{line("a"), line("b")}, {line("b"), line("a")}, {line("b")}} {
		for _, p := range all {
			before := p.secrets()
			put(t, p.secret, lines...)
			p.signal(syscall.SIGHUP)
			eventually(t, p.name+" uses its new secret", func() bool { return p.secrets() > before })
		}
	}
	put(t, all[0].secret, "short")
	all[0].signal(syscall.SIGHUP)
	eventually(t, "a bad secret is named", func() bool { return strings.Contains(all[0].out.String(), "line 1 has 5 characters") })
	put(t, all[0].secret, line("b"))

	// Every connection anew, with what is left of the secret.
	_, others := named(all, all[0].whole().Leader)
	others[0].end(syscall.SIGKILL)
	others[0].start()
	others[0].ready("/readyz?for=write")
	others[0].whole()

	// An upload that the node with the new line alone begins is known to those which began with the old one.
	upload := sent(t, http.MethodPost, "http://127.0.0.1:"+others[0].port+"/v2/team/app/blobs/uploads/", "", http.StatusAccepted)
	sent(t, http.MethodGet, "http://127.0.0.1:"+others[1].port+upload, "", http.StatusNoContent)
}

// testRemove takes a node out, which then says so, and lets it join anew with an empty disk.
func testRemove(t *testing.T, all []*process) {
	t.Helper()
	_, others := named(all, all[0].whole().Leader)
	gone, stays := others[0], others[1]
	before := incarnationOf(stays.whole(), gone.name)
	if got := stays.zot("remove", gone.name); got.code != exitDone || got.stdout != gone.name+" is removed\n" && !strings.HasPrefix(got.stdout, gone.name+" leaves: ") {
		t.Fatalf("%+v", got)
	}
	eventually(t, "the node is gone", func() bool { return incarnationOf(stays.status(), gone.name) == "" })
	eventually(t, "the removed node says so", func() bool {
		code, body := answers(t.Context(), gone.port, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "removed from the cluster")
	})
	if got := stays.zot("remove", gone.name); got.code != exitFailed || !strings.Contains(got.stderr, "no node is named") {
		t.Errorf("removed twice: %+v", got)
	}
	if code := gone.end(syscall.SIGTERM); code != exitDone {
		t.Errorf("the removed node ended with %d", code)
	}
	if err := os.RemoveAll(gone.root); err != nil {
		t.Fatal(err)
	}
	gone.start()
	gone.ready("/readyz")
	if after := incarnationOf(gone.status(), gone.name); after == before || after == "" {
		t.Errorf("incarnation %q before, %q after", before, after)
	}
	gone.whole()
}

// testHandOver stops the leader: another must lead before its process is gone.
func testHandOver(t *testing.T, all []*process) {
	t.Helper()
	began := time.Now()
	leader, others := named(all, all[0].whole().Leader)
	if code := leader.end(syscall.SIGTERM); code != exitDone {
		t.Errorf("%s ended with %d", leader.name, code)
	}
	ended := leader.logged("node stopped", began)
	if len(ended) != 1 {
		t.Fatalf("%s stopped at %v", leader.name, ended)
	}
	eventually(t, "another leads", func() bool {
		return len(others[0].logged("entering leader state", began))+len(others[1].logged("entering leader state", began)) > 0
	})
	leads := func(p *process) bool {
		return slices.ContainsFunc(p.logged("entering leader state", began), func(at time.Time) bool { return !at.After(ended[0]) })
	}
	if !slices.ContainsFunc(others, leads) && len(leader.logged("leadership was not handed over", began)) == 0 { // which a busy machine may bring about
		t.Errorf("when %s was gone, nobody led", leader.name)
	}
	leader.start()
	leader.ready("/readyz?for=write")
	leader.whole()
}

// The binary, built as it is shipped.
func TestServeBuiltBinary(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "zot")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=v0.0.0-test", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), bin, "version").Output(); err != nil || !strings.Contains(string(out), "v0.0.0-test") {
		t.Errorf("%s, %v", out, err)
	}
	p := &process{t: t, name: "one", root: shortDir(t), port: freePorts(t, 1)[0]}
	p.file = configIn(t, p.root, fmt.Sprintf(`, "distSpecVersion": "1.1.0", "http": {"port": %q}`, p.port))
	p.launch(exec.CommandContext(t.Context(), bin, "serve", p.file, "--drain-wait", "1h"))
	defer p.end(syscall.SIGKILL)
	p.ready("/readyz?for=write")
	eventually(t, "a note says what the file asks for and does not get", func() bool { return strings.Contains(p.out.String(), `"key":"distSpecVersion"`) })

	// It drains: not ready, and still there. A second signal ends the wait.
	p.signal(syscall.SIGTERM)
	eventually(t, "the node says that it stops", func() bool {
		code, body := answers(t.Context(), p.port, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if code, _ := answers(t.Context(), p.port, "/livez"); code != http.StatusOK {
		t.Errorf("a draining node answers /livez with %d", code)
	}
	if code := p.end(syscall.SIGINT); code != exitDone {
		t.Errorf("ended with %d:\n%s", code, p.out)
	}
}
