package compaction_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/compaction"
)

// known is a state that knows nodes 1 to 5, of which the last was given up.
func known(t *testing.T) *fsm.State {
	t.Helper()
	s, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var commands []fsm.Command
	for n := byte(1); n <= 5; n++ {
		commands = append(commands, fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{n}, Name: fmt.Sprint("n", n), Level: 1}}, fsm.NodeJoined{Incarnation: entry.Incarnation{n}})
	}
	for i, cmd := range append(commands, fsm.DropNode{Incarnation: entry.Incarnation{5}, Lost: true}) {
		payload, err := fsm.Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		e := entry.Entry{Index: uint64(i + 1), Term: 1, Kind: entry.Command, Payload: payload, Envelope: entry.Envelope{Term: 1}}
		if err := s.Explain(s.Apply([]entry.Entry{e})[0]); err != nil {
			t.Fatalf("%+v: %v", cmd, err)
		}
	}
	return s
}

// asked notes who was asked to compact, and answers as a test wants.
type asked struct {
	began  time.Time
	answer func(ctx context.Context, who byte) ([]compaction.Result, error)

	mu  sync.Mutex
	who []byte
	at  []time.Duration
}

func (a *asked) Compact(ctx context.Context, who blobstore.Incarnation) ([]compaction.Result, error) {
	a.mu.Lock()
	a.who, a.at = append(a.who, who[0]), append(a.at, time.Since(a.began))
	a.mu.Unlock()
	return a.answer(ctx, who[0])
}

func (a *asked) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.who)
}

func TestNodesHaveTheirTurns(t *testing.T) {
	t.Parallel()
	state := known(t)
	synctest.Test(t, func(t *testing.T) {
		at := 0
		nodes := &asked{began: time.Now(), answer: func(ctx context.Context, who byte) ([]compaction.Result, error) {
			if at++; at > 1 {
				t.Errorf("node %d is asked while another one is at work", who)
			}
			defer func() { at-- }()
			switch who {
			case 1:
				return nil, errors.New("it does not answer")
			case 3:
				return []compaction.Result{{File: "state", Before: 100, After: 10}, {File: "log", Before: 100, Error: "no room"}}, nil
			default:
				time.Sleep(time.Minute)
				return nil, ctx.Err()
			}
		}}
		job, err := compaction.New(compaction.Deps{Self: blobstore.Incarnation{2}, State: state, Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Minute)
		defer cancel()
		var board jobs.Board
		running := make(chan error, 1)
		go func() { running <- board.Run(ctx, hclog.NewNullLogger(), job) }() // waited for below
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := board.Jobs(); len(s) != 1 || !s[0].Running.IsZero() || nodes.count() > 0 {
			t.Errorf("in the first minutes: %+v, %d asked", s, nodes.count())
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if s := board.Jobs(); len(s) != 1 || s[0].Ended.IsZero() || s[0].Error != "" {
			t.Errorf("after the first run: %+v", s)
		}
		if err := <-running; err != nil {
			t.Fatal(err)
		}
		if want := []byte{1, 3, 4, 2, 1, 3, 4, 2}; !slices.Equal(nodes.who, want) {
			t.Errorf("asked %v, want %v", nodes.who, want)
		}
		if nodes.at[0] != 5*time.Minute || nodes.at[4] != 67*time.Minute {
			t.Errorf("asked at %v", nodes.at)
		}
	})
}

// A turn ends with the leadership, and the next node gets none.
func TestTurnsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	state := known(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		nodes := &asked{began: time.Now(), answer: func(ctx context.Context, _ byte) ([]compaction.Result, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		job, err := compaction.New(compaction.Deps{Self: blobstore.Incarnation{2}, State: state, Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		if err := job.Do(ctx); !errors.Is(err, context.Canceled) || len(nodes.who) != 1 {
			t.Errorf("%v, asked %v", err, nodes.who)
		}
		if err := job.Do(ctx); !errors.Is(err, context.Canceled) || len(nodes.who) != 1 {
			t.Errorf("with a context that has ended: %v, asked %v", err, nodes.who)
		}
	})
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := compaction.New(compaction.Deps{State: known(t)}); err == nil {
		t.Error("a job without nodes")
	}
	if _, err := compaction.New(compaction.Deps{Nodes: &asked{}}); err == nil {
		t.Error("a job without a state")
	}
}
