package fsm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

func (r *replica) expectProgress(job, want string) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		if p, _ := v.Progress(job); string(p.Value) != want {
			r.t.Errorf("progress of %s is %q, want %q", job, p.Value, want)
		}
	})
}

func TestSetProgress(t *testing.T) {
	golden(t, fsm.SetProgress{Job: "scrub/node", Term: 7, Value: []byte("half"), Lifetime: time.Hour})
	r := newReplica(t)
	r.term = 5
	progress := func(term uint64, value string, lifetime time.Duration) fsm.SetProgress {
		return fsm.SetProgress{Job: "scrub/a", Term: term, Value: []byte(value), Lifetime: lifetime}
	}
	do(r, progress(5, "assigned", time.Hour))
	do(r, progress(5, "half", time.Hour))
	r.expectProgress("scrub/a", "half")
	refused(r, fsm.ErrInvalid, progress(6, "of a term that was not yet", 0))
	r.term = 6
	do(r, progress(5, "nobody has assigned anew", 0))
	do(r, progress(6, "assigned anew", time.Hour))
	refused(r, fsm.ErrTermOver, progress(5, "done", 0))
	refused(r, fsm.ErrTermOver, progress(5, "", 0))
	r.expectProgress("scrub/a", "assigned anew")
	r.wait(time.Hour)
	r.expectProgress("scrub/a", "")
	refused(r, fsm.ErrTermOver, progress(5, "done", 0))
	r.view(func(v fsm.View) {
		if all := v.ProgressBelow("scrub/"); len(all) != 1 || all[0].Job != "scrub/a" || all[0].Term != 6 {
			t.Errorf("records %+v", all)
		}
	})
	do(r, progress(6, "", 0))
	r.view(func(v fsm.View) {
		if all := v.ProgressBelow(""); len(all) != 0 {
			t.Errorf("records %+v after the removal", all)
		}
	})
	r.sound()
}

func TestRecordsOfJobsAreBounded(t *testing.T) {
	r := newReplica(t)
	var all []fsm.SetProgress
	for i := range 1000 {
		all = append(all, fsm.SetProgress{Job: fmt.Sprint(i), Term: 1, Value: []byte("x")})
	}
	doAll(r, all)
	refused(r, fsm.ErrTooMany, fsm.SetProgress{Job: "one more", Term: 1, Value: []byte("x")})
	do(r, fsm.SetProgress{Job: "77", Term: 1, Value: []byte("y")})
	for _, bad := range []fsm.SetProgress{{Term: 1}, {Job: "a"}, {Job: "a", Term: 1, Value: make([]byte, 65<<10)}, {Job: "a", Term: 1, Lifetime: -1}} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
}
