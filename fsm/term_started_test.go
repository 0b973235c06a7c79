package fsm_test

import (
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

func TestTermStarted(t *testing.T) {
	golden(t, fsm.TermStarted{})
	do(newReplica(t), fsm.TermStarted{})
}
