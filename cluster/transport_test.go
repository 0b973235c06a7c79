package cluster

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// wire is the network beneath a transport, as a test gives it messages.
type wire struct {
	under
	messages chan raft.RPC
	close    func()
}

func (w wire) Consumer() <-chan raft.RPC { return w.messages }

// Close ends what hangs.
func (w wire) Close() error {
	w.close()
	return nil
}

// shelf is a state that keeps what was staged last.
type shelf struct {
	StateMachine
	index   atomic.Uint64
	content atomic.Pointer[string]
	before  func(io.Reader) // what Stage does first
}

func (s *shelf) Stage(r io.Reader) error {
	if s.before != nil {
		s.before(r)
	}
	b, err := io.ReadAll(r)
	content := string(b)
	s.content.Store(&content)
	return err
}

func (s *shelf) Position() entry.Position { return entry.Position{Index: s.index.Load(), Term: 2} }

// newTransport is a transport above w that runs until the test ends. The state is at entry 5, the log
// holds 1 to 10 of term 2.
func newTransport(t testing.TB, state *shelf, stopped func(error)) (*transport, chan<- raft.RPC) {
	t.Helper()
	state.index.Store(5)
	w := wire{messages: make(chan raft.RPC), close: func() {}}
	tr := &transport{
		under: w, state: state, logs: holding(t, 1, 10, 2), log: hclog.NewNullLogger(),
		failStop: stopped, endCalls: func() {}, fenced: func() bool { return false },
	}
	tr.start()
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr, w.messages
}

// snapshot is the message of a snapshot in term 3.
func snapshot(index uint64, content io.Reader) (raft.RPC, <-chan raft.RPCResponse) {
	answer := make(chan raft.RPCResponse, 1)
	return raft.RPC{
		Command: &raft.InstallSnapshotRequest{Term: 3, LastLogIndex: index, LastLogTerm: 3},
		Reader:  content, RespChan: answer,
	}, answer
}

func heartbeat() raft.RPC {
	return raft.RPC{Command: &raft.AppendEntriesRequest{}, RespChan: make(chan raft.RPCResponse, 1)}
}

// within receives from c, and fails the test if nothing comes.
func within[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

// A snapshot whose place on the disk another one has taken is not installed: it would give the other's
// bytes its own numbers.
func TestSupersededSnapshotIsNotInstalled(t *testing.T) {
	state := &shelf{}
	tr, messages := newTransport(t, state, func(err error) { t.Error(err) })
	messages <- heartbeat()
	busy := within(t, "the heartbeat", tr.Consumer()) // until it is answered nothing is installed
	newer, newerAnswer := snapshot(110, strings.NewReader("state at 110"))
	tr.stage(&newer)
	first := tr.newest
	within(t, "the end of the first", first.done)
	older, _ := snapshot(100, strings.NewReader("state at 100"))
	tr.stage(&older)
	within(t, "the end of the second", tr.newest.done)
	busy.RespChan <- raft.RPCResponse{}
	got := within(t, "a snapshot", tr.Consumer())
	if at := got.Command.(*raft.InstallSnapshotRequest).LastLogIndex; at != 100 || *state.content.Load() != "state at 100" {
		t.Errorf("Raft is to install %d, and what is staged is %q", at, *state.content.Load())
	}
	got.RespChan <- raft.RPCResponse{Error: io.EOF}
	if a := within(t, "the answer to the first", newerAnswer); !errors.Is(a.Error, errSuperseded) {
		t.Errorf("the first was answered with %v", a.Error)
	}
}

// The message of a snapshot that was given up is answered when it has been read to its end: who reads
// the connection next would else read beside it. Nor does the next snapshot wait for it.
func TestGivenUpSnapshotIsReadToItsEnd(t *testing.T) {
	began := make(chan struct{})
	var once sync.Once
	state := &shelf{before: func(r io.Reader) {
		once.Do(func() {
			_, _ = io.ReadFull(r, make([]byte, 4)) // the pipe gives them
			close(began)
		})
	}}
	tr, messages := newTransport(t, state, func(err error) { t.Error(err) })
	r, w := io.Pipe()
	silent, silentAnswer := snapshot(100, r)
	messages <- silent
	if _, err := io.WriteString(w, "half"); err != nil {
		t.Fatal(err)
	}
	within(t, "the beginning of the first", began)
	next, nextAnswer := snapshot(110, strings.NewReader("state at 110"))
	messages <- next
	got := within(t, "the next snapshot", tr.Consumer())
	got.RespChan <- raft.RPCResponse{Error: io.EOF}
	within(t, "the answer to the next", nextAnswer)
	select {
	case a := <-silentAnswer:
		t.Errorf("answered with %v while its sender still sends", a.Error)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := io.WriteString(w, " and the rest"); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if a := within(t, "the answer to the first", silentAnswer); a.Error == nil {
		t.Error("a snapshot that was given up is installed")
	}
}

// A Stage that does not end at once when it is given up, for it waits for the disk, holds up none of
// Raft's messages: a node that answers no heartbeat costs its leader the lease.
func TestGivingUpAStageHoldsUpNoMessage(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	state := &shelf{before: func(io.Reader) { once.Do(func() { close(began); <-release }) }}
	tr, messages := newTransport(t, state, func(err error) { t.Error(err) })
	defer close(release)
	slow, _ := snapshot(100, strings.NewReader("state at 100"))
	messages <- slow
	within(t, "the beginning", began)
	next, _ := snapshot(110, strings.NewReader("state at 110"))
	messages <- next
	select {
	case messages <- heartbeat():
	case <-time.After(time.Minute):
		t.Fatal("the transport takes no message while a Stage ends")
	}
	rpc := within(t, "the heartbeat", tr.Consumer())
	rpc.RespChan <- raft.RPCResponse{}
}

// A node whose log reaches as far as a snapshot of another term restarts, also if both end with the
// same index: Raft would believe in the log that it has just emptied, and install the snapshot for ever.
func TestStaleLogAsLongAsTheSnapshotRestarts(t *testing.T) {
	for name, at := range map[string]struct {
		index    uint64
		restarts bool
	}{
		"a longer log":   {9, true},
		"an equal log":   {10, true},
		"a shorter log":  {11, false},
		"a far snapshot": {100, false},
	} {
		t.Run(name, func(t *testing.T) {
			stopped := make(chan error, 1)
			state := &shelf{}
			tr, messages := newTransport(t, state, func(err error) { stopped <- err })
			rpc, answer := snapshot(at.index, strings.NewReader("state"))
			messages <- rpc
			got := within(t, "the snapshot", tr.Consumer())
			state.index.Store(at.index) // Raft has it installed
			got.RespChan <- raft.RPCResponse{}
			within(t, "the answer", answer)
			if at.restarts {
				if err := within(t, "the restart", stopped); !errors.Is(err, errRestartNext) {
					t.Error(err)
				}
				return
			}
			messages <- heartbeat() // it goes on
			rpc = within(t, "the heartbeat", tr.Consumer())
			rpc.RespChan <- raft.RPCResponse{}
			if len(stopped) > 0 {
				t.Errorf("restarts: %v", <-stopped)
			}
		})
	}
}
