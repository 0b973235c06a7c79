package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/jobs/compaction"
)

// halfFree is a file that is due; compact is what compacting it does.
func halfFree(name string, compact func(ctx context.Context) error) compaction.File {
	return compaction.File{Name: name, Space: func() (int64, int64, error) { return 100, 50, nil }, Compact: compact}
}

// A leader has another node compact, and itself, and learns what came of it.
func TestNodeCompactsWhenAsked(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 2)
	near, far := s.nodes[0].asked(), s.nodes[1].asked()
	all := turns{through(t, near, far.handler())}
	far.files = compaction.NewFiles(
		halfFree("state", func(context.Context) error { return nil }),
		halfFree("log", func(context.Context) error { return errors.New("no room") }),
	)
	near.files = compaction.NewFiles(halfFree("log", func(ctx context.Context) error {
		if _, err := all.Compact(ctx, blobstore.Incarnation(near.self)); !errors.Is(err, compaction.ErrBusy) {
			t.Errorf("a second time at once: %v", err)
		}
		return nil
	}))
	done, err := all.Compact(t.Context(), blobstore.Incarnation(far.self))
	if err != nil || len(done) != 2 || done[0].File != "state" || done[0].After != 100 || done[1].Error != "no room" {
		t.Errorf("the other one: %+v, %v", done, err)
	}
	if done, err = all.Compact(t.Context(), blobstore.Incarnation(near.self)); err != nil || len(done) != 1 || done[0].File != "log" {
		t.Errorf("itself: %+v, %v", done, err)
	}
	if r, err := all.report(t.Context(), far.self); err != nil || !slices.Equal(r.Files, []compaction.Use{{File: "state", Size: 100, Free: 50}, {File: "log", Size: 100, Free: 50}}) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := (turns{through(t, near, http.NotFoundHandler())}).Compact(t.Context(), blobstore.Incarnation(far.self)); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("one of a version before: %v", err)
	}
}

// A turn ends with the request of the leader, on the other node too, and with that node.
func TestTurnEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 2)
	near, far := s.nodes[0].asked(), s.nodes[1].asked()
	all := turns{through(t, near, far.handler())}
	// Its files are new ones: those of the turn before may be busy for another moment.
	works := func(begun func()) (ended chan struct{}) {
		ended = make(chan struct{})
		far.files = compaction.NewFiles(halfFree("state", func(ctx context.Context) error {
			begun()
			<-ctx.Done()
			close(ended)
			return ctx.Err()
		}))
		return ended
	}
	await := func(ended <-chan struct{}) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("it has not begun, or does not end")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := works(cancel)
	if done, err := all.Compact(ctx, blobstore.Incarnation(far.self)); !errors.Is(err, context.Canceled) || len(done) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	await(ended)

	node, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- far.Run(node) }() // waited for below
	ended = works(stop)
	if done, err := all.Compact(t.Context(), blobstore.Incarnation(far.self)); err == nil || len(done) != 0 {
		t.Errorf("of a node that stops: %+v, %v", done, err)
	}
	await(ended)
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := all.Compact(t.Context(), blobstore.Incarnation(far.self)); err == nil || !strings.Contains(err.Error(), errStopping.Error()) {
		t.Errorf("of a node that has stopped: %v", err)
	}
}

// A node that is at it for long says so every second.
func TestNodeCompactsForLong(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 2)
	n := s.nodes[0].asked()
	synctest.Test(t, func(t *testing.T) {
		n.files = compaction.NewFiles(halfFree("state", func(context.Context) error { time.Sleep(10*time.Second + time.Millisecond); return nil }))
		beats, over := 0, 0
		err := n.compacted(t.Context(), func(note compactNote) {
			if beats++; note.Over {
				over++
			}
		})
		if err != nil || beats != 11 || over != 1 {
			t.Errorf("%d notes, %d of them the last, %v", beats, over, err)
		}
	})
}
