package fsm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

func store(name string, delay time.Duration) fsm.SetStore {
	return fsm.SetStore{Name: name, GCDelay: delay, Replicas: 3, WriteAcks: 2}
}

func TestSetStoreEncoding(t *testing.T) {
	golden(t, fsm.SetStore{
		Name: "default", GCDelay: 90 * time.Minute, Replicas: 3, WriteAcks: 2,
		Place: fsm.Place{Bucket: "images", Endpoint: "minio:9000", Root: "zot"},
	})
}

func TestNumbers(t *testing.T) {
	tests := []struct {
		delay               time.Duration
		lease, window, tick time.Duration
	}{
		{0, 5 * time.Second, 1250 * time.Millisecond, 312500 * time.Microsecond},
		{4 * time.Second, 5 * time.Second, 1250 * time.Millisecond, 312500 * time.Microsecond},
		{16 * time.Minute, 16 * time.Minute, 4 * time.Minute, time.Minute},
		{time.Hour, time.Hour, 10 * time.Minute, time.Minute},
		{24 * time.Hour, 24 * time.Hour, 10 * time.Minute, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.delay.String(), func(t *testing.T) {
			r := newReplica(t)
			do(r, store("default", test.delay))
			r.view(func(v fsm.View) {
				s, known := v.Store("default")
				n := s.Numbers
				if !known || n.Lease != test.lease || n.ShortLease != test.lease {
					t.Errorf("lease %s and %s, want %s", n.Lease, n.ShortLease, test.lease)
				}
				if n.Window != test.window || n.KeepWindow != test.window || n.Unknown != 3*test.window {
					t.Errorf("window %s, kept %s, unknown %s, want window %s", n.Window, n.KeepWindow, n.Unknown, test.window)
				}
				if n.Lease/2 <= n.Window+r.Tick() {
					t.Errorf("half of %s is not more than window %s and tick %s (GC T4)", n.Lease, n.Window, r.Tick())
				}
			})
			if r.Tick() != test.tick {
				t.Errorf("tick %s, want %s", r.Tick(), test.tick)
			}
		})
	}
}

func TestDefaultsOfAStoreThatWasNeverSet(t *testing.T) {
	r := newReplica(t)
	if r.Tick() != time.Minute {
		t.Errorf("tick %s", r.Tick())
	}
	r.view(func(v fsm.View) {
		s, known := v.Store("default")
		if known || s.Numbers.Lease != time.Hour || s.Numbers.Replicas != 3 || s.Numbers.WriteAcks != 2 {
			t.Errorf("known %t, %+v", known, s.Numbers)
		}
	})
}

// TestChangeOfNumbers takes a store from one delay to another and back before the first change is
// over: as long as the longest lease may run, the extremes of all three hold.
func TestChangeOfNumbers(t *testing.T) {
	r := newReplica(t)
	expect := func(when string, lease, short time.Duration) {
		t.Helper()
		r.view(func(v fsm.View) {
			s, _ := v.Store("default")
			n := s.Numbers
			if n.Lease != lease || n.ShortLease != short || n.Window != min(10*time.Minute, short/4) || n.KeepWindow != min(10*time.Minute, lease/4) {
				t.Errorf("%s: %+v", when, n)
			}
		})
		if want := min(time.Minute, short/16); r.Tick() != want {
			t.Errorf("%s: tick %s, want %s", when, r.Tick(), want)
		}
	}
	do(r, store("default", time.Hour))
	do(r, store("default", 8*time.Minute))
	expect("just shortened", time.Hour, 8*time.Minute)
	r.wait(59 * time.Minute)
	expect("an hour less a minute later", time.Hour, 8*time.Minute)
	do(r, store("default", 2*time.Hour))
	expect("changed again meanwhile", 2*time.Hour, 8*time.Minute)
	do(r, fsm.SetStore{Name: "default", GCDelay: 2 * time.Hour, Replicas: 2, WriteAcks: 1})
	expect("other numbers change at once and do not end it", 2*time.Hour, 8*time.Minute)
	r.wait(2 * time.Hour)
	expect("over", 2*time.Hour, 2*time.Hour)
}

func TestTickIsThatOfTheShortestLease(t *testing.T) {
	r := newReplica(t)
	do(r, store("a", time.Hour))
	do(r, store("b", 8*time.Minute))
	do(r, store("c", time.Hour))
	if r.Tick() != 30*time.Second {
		t.Errorf("tick %s", r.Tick())
	}
	r.view(func(v fsm.View) {
		if all := v.Stores(); len(all) != 3 || all[1].Name != "b" || all[1].GCDelay != 8*time.Minute {
			t.Errorf("stores %+v", all)
		}
	})
}

func TestSetStoreRefusals(t *testing.T) {
	r := newReplica(t)
	for i := range 256 {
		do(r, store(fmt.Sprint(i), time.Hour))
	}
	refused(r, fsm.ErrTooMany, store("one more", time.Hour))
	do(r, store("7", 2*time.Hour))
	for _, bad := range []fsm.SetStore{
		{Name: "", GCDelay: 1, Replicas: 1, WriteAcks: 1},
		{Name: "a", GCDelay: -1, Replicas: 1, WriteAcks: 1},
		{Name: "a", GCDelay: 1, Replicas: 1, WriteAcks: 2},
		{Name: "a", GCDelay: 1, Replicas: 0, WriteAcks: 0},
		{Name: "a", GCDelay: 1 << 62, Replicas: 1, WriteAcks: 1},
		{Name: "a", GCDelay: 1, Replicas: 1, WriteAcks: 1, Place: fsm.Place{Root: "without a bucket"}},
		{Name: "a", GCDelay: 1, Replicas: 1, WriteAcks: 1, Place: fsm.Place{Bucket: strings.Repeat("b", 1025)}},
	} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
}
