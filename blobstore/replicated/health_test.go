package replicated_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/replicated"
)

// pair is a cluster of two.
type pair struct{ fixed }

// Membership is the other node.
func (p pair) Membership() (replicated.Membership, error) {
	m, err := p.fixed.Membership()
	m.Self.Incarnation, m.Others = blobstore.Incarnation{1}, []replicated.Member{{Incarnation: blobstore.Incarnation{2}}}
	return m, err
}

// answering is a network on which the other node answers, or not.
type answering struct{ down atomic.Bool }

func (a *answering) RoundTrip(*http.Request) (*http.Response, error) {
	if a.down.Load() {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"total":100,"free":50}`))}, nil
}

// How long a node is silent counts from its last answer, whatever failed since; from this node's start if there was none.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		other := &answering{}
		s, err := replicated.New(replicated.Config{Name: storeName, Local: newMemory(t, blobstore.Incarnation{1}), Members: pair{}, Transport: other})
		must(t, err)
		expect := func(want time.Duration) {
			t.Helper()
			if have := s.Silence(blobstore.Incarnation{2}); have != want {
				t.Errorf("silent for %s, want %s", have, want)
			}
		}
		expect(0)
		time.Sleep(time.Minute)
		expect(time.Minute)
		s.Poll(t.Context())
		expect(0)
		other.down.Store(true)
		for range 3 {
			time.Sleep(5 * time.Second)
			s.Poll(t.Context())
		}
		if s.Reachable(blobstore.Incarnation{2}) {
			t.Error("it is reachable")
		}
		expect(15 * time.Second)
		other.down.Store(false)
		s.Poll(t.Context())
		expect(0)
		if have := s.Silence(blobstore.Incarnation{3}); have != time.Minute+15*time.Second {
			t.Errorf("a node that is none is silent for %s", have)
		}
	})
}
