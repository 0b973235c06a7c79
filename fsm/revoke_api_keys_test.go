package fsm_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

func TestRevokeAPIKeys(t *testing.T) {
	golden(t, fsm.RevokeAPIKeys{Owner: "ann"})
	r := newReplica(t)
	do(r, r.apiKey("one", "ann", 0))
	do(r, r.apiKey("another", "ann", time.Hour))
	do(r, r.apiKey("over", "ann", -time.Hour))
	do(r, r.apiKey("hers", "anna", 0))
	for _, want := range []int{2, 0} {
		if done := do(r, fsm.RevokeAPIKeys{Owner: "ann"}); done.Keys != want {
			t.Errorf("%d are said to have gone, want %d", done.Keys, want)
		}
	}
	r.expectKeys("ann")
	r.expectKeys("anna", "hers")
	r.sound()
	if _, err := fsm.Encode(fsm.RevokeAPIKeys{}); err == nil {
		t.Error("those of nobody were encoded")
	}
}
