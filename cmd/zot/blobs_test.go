package main

import (
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

func TestBlobsOf(t *testing.T) {
	t.Parallel()
	is := func(s *shelves, want blobHealth) {
		t.Helper()
		if got, err := blobsOf(s.state); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	s := shelvesOf(t, 3, true)
	is(s, blobHealth{})
	s.push("all", 0, 1, 2)
	is(s, blobHealth{})
	s.push("two", 0, 1)
	is(s, blobHealth{BelowReplicas: 1})
	s.push("one", 0, 1)
	must(s, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("one"), Location: s.nodes[1].at("one")})
	is(s, blobHealth{AtOneCopy: 1, BelowReplicas: 2, Doomed: 1})
	must(s, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("one"), Location: s.nodes[0].at("one")})
	is(s, blobHealth{Damaged: 1, BelowReplicas: 2, Doomed: 1})

	alone := shelvesOf(t, 1, true)
	alone.push("one", 0)
	is(alone, blobHealth{}) // there cannot be more
	alone.join()
	is(alone, blobHealth{AtOneCopy: 1, BelowReplicas: 1})
}
