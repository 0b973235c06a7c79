package fsm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

func trusted(r *replica) (all []string) {
	r.view(func(v fsm.View) {
		for _, k := range v.TrustedKeys() {
			all = append(all, fmt.Sprint(k.Tool, k.Store, "/", k.Name, " ", string(k.Content), " by ", k.By))
			if k.Digest != dig(string(k.Content)) || k.Given == 0 {
				r.t.Errorf("%q has the digest %s and the date %d", k.Content, k.Digest, k.Given)
			}
		}
	})
	slices.Sort(all)
	return all
}

func TestTrustKey(t *testing.T) {
	golden(t, fsm.TrustKey{Tool: fsm.Notation, Store: "ca", Name: "default", Content: []byte("certificate"), By: "ann"})
	r := newReplica(t)
	for _, c := range []fsm.TrustKey{
		{Tool: fsm.Cosign, Content: []byte("one"), By: "ann"},
		{Tool: fsm.Cosign, Content: []byte("one"), By: "bob"}, // is there
		{Tool: fsm.Cosign, Content: []byte("another"), By: "ann"},
		{Tool: fsm.Notation, Store: "ca", Name: "x", Content: []byte("one"), By: "ann"},
		{Tool: fsm.Notation, Store: "tsa", Name: "x", Content: []byte("one"), By: "ann"},
		{Tool: fsm.Notation, Store: "ca", Name: "y", Content: []byte("one"), By: "ann"},
		{Tool: fsm.Notation, Store: "ca", Name: "y", Content: []byte("another")},
	} {
		do(r, c)
	}
	want := []string{
		"cosign/ another by ann", "cosign/ one by ann",
		"notationca/x one by ann", "notationca/y another by ", "notationca/y one by ann", "notationtsa/x one by ann",
	}
	if all := trusted(r); !slices.Equal(all, want) {
		t.Fatalf("trusted is\n%q, want\n%q", all, want)
	}
	r.sound()
}

func TestTrustedKeysAreBounded(t *testing.T) {
	r := newReplica(t)
	var all []fsm.TrustKey
	for i := range 100 {
		all = append(all, fsm.TrustKey{Tool: fsm.Notation, Store: "ca", Content: fmt.Append(nil, i)})
	}
	doAll(r, all)
	refused(r, fsm.ErrTooMany, fsm.TrustKey{Tool: fsm.Notation, Store: "tsa", Content: []byte("1")})
	do(r, all[7]) // is there
	do(r, fsm.TrustKey{Tool: fsm.Cosign, Content: []byte("1")})
	if n := len(trusted(r)); n != 101 {
		t.Errorf("%d are trusted", n)
	}
}

func TestTrustKeyChecks(t *testing.T) {
	for name, bad := range map[string]fsm.TrustKey{
		"no tool":      {Content: []byte("k")},
		"unknown tool": {Tool: 3, Content: []byte("k")},
		"nothing":      {Tool: fsm.Cosign},
		"large":        {Tool: fsm.Cosign, Content: make([]byte, 64<<10+1)},
		"store of two": {Tool: fsm.Notation, Content: []byte("k"), Store: "a\x00b"},
		"name of two":  {Tool: fsm.Notation, Content: []byte("k"), Name: "a\x00b"},
		"long name":    {Tool: fsm.Notation, Content: []byte("k"), Name: strings.Repeat("n", 129)},
		"long giver":   {Tool: fsm.Cosign, Content: []byte("k"), By: strings.Repeat("n", 513)},
	} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
}

func TestSigningTools(t *testing.T) {
	for name, want := range map[string]fsm.SigningTool{"cosign": fsm.Cosign, "notation": fsm.Notation, "gpg": 0, "": 0, "Cosign": 0} {
		tool, ok := fsm.ParseSigningTool(name)
		if tool != want || ok != (want != 0) || ok && tool.String() != name {
			t.Errorf("%q is %d (%s), %t", name, tool, tool, ok)
		}
	}
}
