package kill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// node is one node of the cluster: a process that is ended and started again on its directory.
type node struct {
	name    string
	root    string // its directory
	file    string // its configuration
	log     string // what its processes print
	address string // for clients
	zot     string

	admin *http.Client

	mu  sync.Mutex
	cmd *exec.Cmd // guarded by mu
	end *ending   // of cmd; guarded by mu
}

// ending is how a process ends.
type ending struct {
	wanted bool          // by us; guarded by the node's mu
	done   chan struct{} // closed when it has
	state  string        // valid once done is closed
}

// life is a time in which a node counts as living: from a 200 of /readyz until it is killed or stopped. Each
// has connections of its own: those of a process that is gone would break requests that were sent later.
type life struct {
	node   *node
	client *http.Client
	over   chan struct{} // closed when it is killed or stopped
	killed bool          // valid once over is closed: it was not stopped, which is no more than a pause
}

// isOver reports whether the node was killed or stopped.
func (l *life) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// diesWithUs starts commands whose processes are killed when this one ends, however it ends. The kernel
// counts the thread that has started a process, not the process, so all are started by one that stays.
type diesWithUs struct{ start chan starting }

type starting struct {
	cmd    *exec.Cmd
	result chan error
}

// starter is the thread that starts processes. It lives until stop is called.
func starter() (d diesWithUs, stop func()) {
	d = diesWithUs{make(chan starting)}
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for s := range d.start {
			s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
			s.result <- s.cmd.Start()
		}
	})
	return d, func() { close(d.start); thread.Wait() }
}

func (d diesWithUs) run(cmd *exec.Cmd) error {
	s := starting{cmd, make(chan error, 1)}
	d.start <- s
	return <-s.result
}

// boot starts the process. It is not living yet.
func (n *node) boot(d diesWithUs) (*ending, error) {
	log, err := os.OpenFile(n.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()                                // the process has its own descriptor
	cmd := exec.Command(n.zot, "serve", n.file, "--drain-wait", "0s") //nolint:noctx // it is ended by signals
	cmd.Stdout, cmd.Stderr = log, log
	if err := d.run(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", n.name, err)
	}
	e := &ending{done: make(chan struct{})}
	go func() { // ends with the process; who signals it waits for done
		_ = cmd.Wait() // its state says more
		e.state = cmd.ProcessState.String()
		close(e.done)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.end = cmd, e
	return e, nil
}

// signal sends one to the process, if there is one.
func (n *node) signal(s os.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s) // it may have ended
	}
}

// doom says that the process is to end: it does not come to live any more.
func (n *node) doom() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.end != nil {
		n.end.wanted = true
	}
}

// halt ends a process that is doomed by a signal, and returns when it has ended.
func (n *node) halt(s os.Signal) {
	n.mu.Lock()
	cmd, e := n.cmd, n.end
	n.cmd, n.end = nil, nil
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(s) // it may have ended
	select {
	case <-e.done:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-e.done
	}
}

// unwanted says how the process ended if nobody wanted that; "" otherwise.
func (n *node) unwanted(e *ending) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.wanted {
		return ""
	}
	return fmt.Sprintf("%s ended by itself (%s)", n.name, e.state)
}

// lastWords are the last lines of the log.
func (n *node) lastWords(lines int) string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// probe asks one of the health pages.
func (n *node) probe(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+path, http.NoBody)
	if err != nil {
		return false
	}
	t := &http.Transport{DisableKeepAlives: true}
	answer, err := t.RoundTrip(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// status is what a node says of its cluster.
type status struct {
	Leader  string `json:"leader"`
	Members []struct {
		Name    string  `json:"name"`
		State   string  `json:"state"`
		Voter   bool    `json:"voter"`
		Applied *uint64 `json:"applied"`
	} `json:"members"`
	Blobs struct {
		Damaged       int `json:"damaged"`
		BelowReplicas int `json:"belowReplicas"`
	} `json:"blobs"`
}

// status asks the node's operator's socket.
func (n *node) status(ctx context.Context) (s status, err error) {
	return s, n.operate(ctx, http.MethodGet, "/cluster/status", "", &s)
}

// giveUpLeadership has another node lead.
func (n *node) giveUpLeadership(ctx context.Context) error {
	return n.operate(ctx, http.MethodPost, "/cluster/transfer", `{"node": ""}`, &struct{}{})
}

func (n *node) operate(ctx context.Context, method, path, body string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://zot"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := n.admin.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(out)
}

// operator is a client of the socket that a node opens in its directory.
func operator(root string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(root, "admin.sock"))
		},
	}}
}
