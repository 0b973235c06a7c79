package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/compaction"
)

// asked is the node as others ask it.
func (n *shelf) asked() *askedNode {
	return &askedNode{verification: *n.verification(), board: &jobs.Board{}, files: compaction.NewFiles()}
}

// through has one node ask another, which answers by a handler.
func through(t *testing.T, from *askedNode, handler http.Handler) allNodes {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return allNodes{own: from, others: &others{transport: transport}}
}

// What a node says of itself is the same for itself and for others.
func TestNodeIsAsked(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 2)
	s.push("b", 0, 1)
	must(s, fsm.HashCheck{})
	index := s.state.Position().Index
	near, far := s.nodes[0].asked(), s.nodes[1].asked()
	ctx, stop := context.WithCancel(t.Context())
	working := make(chan struct{})
	go func() { // waited for below
		defer close(working)
		job := jobs.Job{Name: "sing", Every: time.Hour, Do: func(context.Context) error { return errors.New("hoarse") }}
		if err := far.board.Run(ctx, hclog.NewNullLogger(), job); err != nil {
			t.Error(err)
		}
	}()
	defer func() { stop(); <-working }()
	eventually(t, "the job has run", func() bool { return len(far.board.Jobs()) == 1 && far.board.Jobs()[0].Error != "" })
	s.nodes[1].lose("b")
	all := through(t, near, far.handler())

	r, err := all.report(t.Context(), incarnation(2))
	if err != nil || r.Store == nil || r.Store.TotalBytes == 0 || len(r.Jobs) != 1 || r.Jobs[0].Error != "hoarse" || r.Jobs[0].Ended.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := all.report(t.Context(), incarnation(1)); err != nil || r.Store == nil || len(r.Jobs) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	own, err := all.hashAt(t.Context(), incarnation(1), index)
	if err != nil || len(own.Hash) != 64 {
		t.Errorf("%+v, %v", own, err)
	}
	if other, err := all.hashAt(t.Context(), incarnation(2), index); err != nil || other != own {
		t.Errorf("%+v, %v, want %+v", other, err, own)
	}
	for n := range 2 {
		if h, err := all.hashAt(t.Context(), incarnation(n+1), index+1); !errors.Is(err, errNoHash) {
			t.Errorf("of no check: %+v, %v", h, err)
		}
	}
	for n, wantBad := range []int{0, 1} {
		bad, ended := 0, 0
		err := all.check(t.Context(), incarnation(n+1), checkWish{Hash: true}, func(note checkNote) {
			if note.Applied != s.state.Position().Index {
				t.Errorf("%+v", note)
			}
			if note.Bad != nil {
				bad++
			}
			if note.Result != nil && note.Result.Copies == 1 {
				ended++
			}
		})
		if err != nil || bad != wantBad || ended != 1 {
			t.Errorf("node %d: %d bad, %d ends, %v", n, bad, ended, err)
		}
	}
}

func TestNodeDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"another version": {http.NotFound, "another version"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"applied": 7}` + "\n"))
		}, "breaks off"},
		"says why": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"applied": 7}` + "\n" + `{"error": "the node is stopping"}` + "\n"))
		}, "the node is stopping"},
		"refuses": {func(w http.ResponseWriter, _ *http.Request) {
			answerJSON(w, http.StatusConflict, adminError{"no"})
		}, "no"},
		"nonsense": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "breaks off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := through(t, &askedNode{verification: verification{self: incarnation(1)}}, test.answer)
			err := all.check(t.Context(), incarnation(2), checkWish{}, func(checkNote) {})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// A node that is checked and falls silent is given up: before its answer, or in the middle.
func TestNodeFallsSilent(t *testing.T) {
	t.Parallel()
	for name, notes := range map[string]int{"at once": 0, "after three notes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
				all := allNodes{own: &askedNode{verification: verification{self: incarnation(1)}}, others: &others{transport: transport}}
				var answering sync.WaitGroup
				answering.Go(func() { answer(far, notes) })
				began, got := time.Now(), 0
				err := all.check(t.Context(), incarnation(2), checkWish{}, func(checkNote) { got++ })
				if took := time.Since(began); !errors.Is(err, errSilent) || got != notes || took != time.Duration(notes)*(noteSilence-time.Second)+noteSilence {
					t.Errorf("%v after %d notes and %s", err, got, took)
				}
				_ = far.Close()
				answering.Wait()
			})
		})
	}
}

// answer answers a request with so many notes, each just before its reader gives up, and reads on until nobody is
// there any more.
func answer(c net.Conn, notes int) {
	in := bufio.NewReader(c)
	if _, err := http.ReadRequest(in); err != nil {
		return
	}
	for i := range notes {
		time.Sleep(noteSilence - time.Second) // the other end's patience
		text := `{"applied": 7}` + "\n"
		if i == 0 {
			text = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + text
		}
		if _, err := c.Write([]byte(text)); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, in)
}

// A node says every second that it is still at it, and ends with its owner.
func TestNodeIsCheckedForLong(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 2)
	s.push("b", 0, 1)
	synctest.Test(t, func(t *testing.T) {
		n := s.nodes[0].asked()
		n.pace = func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
		node, stop := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- n.Run(node) }() // waited for below
		notes := 0
		checked := make(chan error, 1)
		go func() { // waited for below
			checked <- n.checked(t.Context(), checkWish{}, func(checkNote) { notes++ })
		}()
		time.Sleep(10*time.Second + time.Millisecond)
		stop()
		if err := <-checked; !errors.Is(err, context.Canceled) || notes < 10 {
			t.Errorf("%d notes, %v", notes, err)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}
