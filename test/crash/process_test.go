package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// askPatience is how long a node may take for an answer.
const askPatience = 5 * time.Second

// errDead is returned for a question to a node that has ended.
var errDead = errors.New("the process has ended")

// process is a node's process, as the test sees it. ask may be called concurrently.
type process struct {
	cmd      *exec.Cmd
	log      *tail
	ready    chan answer   // what the node says first
	staging  chan struct{} // a snapshot begins to arrive; nobody has to listen
	installs atomic.Int64
	ended    chan struct{} // closed when the process has ended and all that it said was heard

	writing sync.Mutex
	in      *json.Encoder

	mu    sync.Mutex
	last  uint64
	asked map[uint64]chan answer
}

// startProcess starts a node. What goes wrong with it shows by ended, before ready.
func startProcess(t *testing.T, s spec) (*process, error) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(text))
	p := &process{
		cmd: cmd, log: &tail{}, ready: make(chan answer, 1), staging: make(chan struct{}, 1), ended: make(chan struct{}),
		asked: map[uint64]chan answer{},
	}
	cmd.Stderr = p.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = json.NewEncoder(in)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // waited for through ended
		defer close(p.ended)
		p.hear(json.NewDecoder(out))
		_, _ = io.Copy(io.Discard, out) // what was not understood
		_ = cmd.Wait()                  // killed, mostly
	}()
	return p, nil
}

// hear passes on what the node says, until it ends.
func (p *process) hear(out *json.Decoder) {
	for {
		var a answer
		if err := out.Decode(&a); err != nil {
			return
		}
		switch a.Event {
		case eventReady:
			p.ready <- a
		case eventInstalled:
			p.installs.Add(1)
		case eventStaging:
			select {
			case p.staging <- struct{}{}:
			default:
			}
		default:
			p.mu.Lock()
			asked := p.asked[a.Number]
			delete(p.asked, a.Number)
			p.mu.Unlock()
			asked <- a
		}
	}
}

// ask asks the node. An answer that was given before the process ended is heard even if it has ended.
//
// It fails with errDead, and with an answer's Error; then the answer says more.
func (p *process) ask(ctx context.Context, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*askPatience)
	defer cancel()
	got := make(chan answer, 1)
	p.mu.Lock()
	p.last++
	q.Number = p.last
	p.asked[q.Number] = got
	p.mu.Unlock()
	p.writing.Lock()
	err := p.in.Encode(q)
	p.writing.Unlock()
	if err != nil {
		return answer{Unknown: true}, errDead
	}
	select {
	case a := <-got:
		return a, a.err()
	case <-ctx.Done():
		return answer{Unknown: true}, ctx.Err()
	case <-p.ended:
	}
	select {
	case a := <-got:
		return a, a.err()
	default:
		return answer{Unknown: true}, errDead
	}
}

func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return errors.New(a.Error)
}

// kill ends the process and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
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
	return strings.TrimSpace(string(t.text))
}

// pause waits for d, or less if ctx ends: then it returns false.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
