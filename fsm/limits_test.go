package fsm_test

import (
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

func TestLimitsEncodings(t *testing.T) {
	golden(t, fsm.SetLimits{Limits: fsm.Limits{MaxRepositories: 10, Quotas: []fsm.Quota{{Prefix: "", Bytes: 1 << 40}, {Prefix: "team/app", Bytes: 1 << 30}}}})
	golden(t, fsm.SetReadOnly{On: true, Reason: "a new disk"})
}
