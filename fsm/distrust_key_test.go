package fsm_test

import (
	"slices"
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

func TestDistrustKey(t *testing.T) {
	golden(t, fsm.DistrustKey{Tool: fsm.Notation, Digest: dig("certificate")})
	r := newReplica(t)
	doAll(r, []fsm.TrustKey{
		{Tool: fsm.Cosign, Content: []byte("one")},
		{Tool: fsm.Notation, Store: "ca", Name: "x", Content: []byte("one")},
		{Tool: fsm.Notation, Store: "tsa", Name: "x", Content: []byte("one")},
		{Tool: fsm.Notation, Store: "ca", Name: "y", Content: []byte("one")},
		{Tool: fsm.Notation, Store: "ca", Name: "y", Content: []byte("another")},
	})
	do(r, fsm.DistrustKey{Tool: fsm.Notation, Digest: dig("one")})
	refused(r, fsm.ErrTrustedKeyUnknown, fsm.DistrustKey{Tool: fsm.Notation, Digest: dig("one")})
	refused(r, fsm.ErrTrustedKeyUnknown, fsm.DistrustKey{Tool: fsm.Cosign, Digest: dig("none")})
	if all := trusted(r); !slices.Equal(all, []string{"cosign/ one by ", "notationca/y another by "}) {
		t.Fatalf("what is left is %q", all)
	}
	r.sound()
}

func TestDistrustKeyChecks(t *testing.T) {
	for name, bad := range map[string]fsm.DistrustKey{
		"no tool":      {Digest: dig("k")},
		"unknown tool": {Tool: 3, Digest: dig("k")},
		"no digest":    {Tool: fsm.Cosign},
	} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
}
