package loss_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// Three of five nodes with two replicas lose their disks one after the other, each after repair: two come back
// empty and take their old places by themselves, one is given up with `zot cluster remove --lost`. Clients
// push all the time.
func TestThreeDisksOfFiveAreLost(t *testing.T) {
	t.Parallel()
	nodes := harness.StartWith(t, 5, two())
	l := newLedger(t)
	l.fill(60, nodes...)
	stop := l.pushing(nodes[3], nodes[4])
	defer stop()

	returnsEmpty := func(n *harness.Node) {
		t.Helper()
		old := incarnation(t, nodes[4], n.Name)
		n.Kill(t)
		if err := os.RemoveAll(n.Root); err != nil {
			t.Fatal(err)
		}
		n.Serve(t)
		until(t, n.Name+" is taken in anew", func() error {
			have, err := incarnationOf(t, nodes[4], n.Name)
			if err == nil && have == old {
				err = errors.New("it is the old one yet")
			}
			return err
		})
		whole(t, nodes[4], 5)
	}
	returnsEmpty(nodes[0])
	returnsEmpty(nodes[1])
	nodes[2].Kill(t)
	if err := os.RemoveAll(nodes[2].Root); err != nil {
		t.Fatal(err)
	}
	until(t, "the third is given up", func() error {
		_, err := nodes[4].Zot(t, "cluster", "remove", nodes[2].Name, "--lost") // refused while it counts as alive
		return err
	})
	whole(t, nodes[4], 4)
	stop()
	l.found(nodes[0], nodes[1], nodes[3], nodes[4])
	verified(t, nodes[4])
}

// Two nodes leave at the same time, each of which has no sole copy: what is on these two alone goes to the others
// first.
func TestTwoNodesLeaveAtOnce(t *testing.T) {
	t.Parallel()
	nodes := harness.StartWith(t, 4, two())
	l := newLedger(t)
	l.fill(60, nodes...)
	stop := l.pushing(nodes[2], nodes[3])
	defer stop()
	errs := make(chan error, 2)
	for _, n := range nodes[:2] {
		go func() { // waited for below
			_, err := nodes[3].Zot(t, "cluster", "remove", n.Name)
			errs <- err
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Fatal(err)
	}
	whole(t, nodes[3], 2)
	stop()
	for _, n := range nodes[:2] {
		n.Stop(t)
	}
	l.found(nodes[2], nodes[3])
	verified(t, nodes[3])
}

// Two nodes come back with empty disks at the same time. The first is taken in anew; the second would take the last
// copy of some blobs with it, so it has to wait, and with its old disk everything is there again.
func TestTwoDisksAreLostAtOnce(t *testing.T) {
	t.Parallel()
	nodes := harness.StartWith(t, 5, two())
	l := newLedger(t)
	l.fill(60, nodes...)
	old := map[string]string{}
	for _, n := range nodes[:2] {
		old[n.Name] = incarnation(t, nodes[4], n.Name)
		n.Kill(t)
		move(t, n.Root, n.Root+"-old")
	}
	for _, n := range nodes[:2] {
		n.Serve(t)
	}
	var waits *harness.Node
	until(t, "one of them waits because of its sole copies", func() error {
		for _, n := range nodes[:2] {
			if err := harness.Probe(t.Context(), n.URL("/readyz")); err != nil && strings.Contains(err.Error(), "node has sole copies") {
				waits = n
				return nil
			}
		}
		return errors.New("none does")
	})
	if have := incarnation(t, nodes[4], waits.Name); have != old[waits.Name] {
		t.Fatalf("%s has been taken in anew", waits.Name)
	}
	waits.Kill(t)
	if err := os.RemoveAll(waits.Root); err != nil {
		t.Fatal(err)
	}
	move(t, waits.Root+"-old", waits.Root)
	waits.Serve(t)
	whole(t, nodes[4], 5)
	l.found(nodes...)
}

// The disk of a node that runs is not mounted for a while: nothing is given up for it, nothing is written to what
// is there instead, and clients are served from the others.
func TestDiskIsNotMountedForAWhile(t *testing.T) {
	t.Parallel()
	nodes := harness.StartWith(t, 3, two())
	l := newLedger(t)
	l.fill(40, nodes...)
	move(t, nodes[0].Root+"/marker", nodes[0].Root+"/marker-away")
	until(t, "it says that its store is not there", func() error {
		if err := harness.Probe(t.Context(), nodes[0].URL("/readyz")); err == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	before := files(t, nodes[0]) // not earlier: copies may have been moved until then
	stop := l.pushing(nodes[1], nodes[2])
	l.found(nodes...)
	time.Sleep(45 * time.Second) // repair has looked at least once
	stop()
	if have := files(t, nodes[0]); !slices.Equal(have, before) {
		t.Errorf("%d files are there, and were %d", len(have), len(before))
	}
	move(t, nodes[0].Root+"/marker-away", nodes[0].Root+"/marker")
	until(t, "it is ready again", func() error { return harness.Probe(t.Context(), nodes[0].URL("/readyz?for=write")) })
	whole(t, nodes[1], 3)
	for _, file := range before {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("a copy is gone: %v", err)
		}
	}
	l.found(nodes...)
}

// A node is emptied while clients push through it, and filled again.
func TestNodeIsDrained(t *testing.T) {
	t.Parallel()
	nodes := harness.StartWith(t, 4, two())
	l := newLedger(t)
	l.fill(60, nodes...)
	stop := l.pushing(nodes[0], nodes[1])
	defer stop()
	drain := func(arguments ...string) {
		t.Helper()
		if _, err := nodes[1].Zot(t, append([]string{"cluster", "drain", nodes[0].Name}, arguments...)...); err != nil {
			t.Fatal(err)
		}
	}
	drain()
	until(t, "no copies are left on it", func() error {
		s, err := statusOf(t, nodes[2])
		if err == nil && (len(s.Emptying) != 1 || s.Emptying[0].Copies > 0) {
			err = fmt.Errorf("%+v", s.Emptying)
		}
		return err
	})
	until(t, "its files are removed", func() error {
		if left := files(t, nodes[0]); len(left) > 0 {
			return fmt.Errorf("%d are left", len(left))
		}
		return nil
	})
	stop()
	acknowledged := len(l.all)
	l.fill(10, nodes[0])
	if left := files(t, nodes[0]); len(left) > 0 {
		t.Errorf("%d copies of what was pushed through it are on it", len(left))
	}
	whole(t, nodes[3], 4)
	l.found(nodes...)
	drain("--undo")
	until(t, "it is filled again", func() error {
		if have := files(t, nodes[0]); len(have) < acknowledged/8 {
			return fmt.Errorf("%d files are there", len(have))
		}
		return nil
	})
	whole(t, nodes[3], 4)
	l.found(nodes...)
}

// Blobs that were pushed while one of two zones was down have both copies in the other. When a node joins, they are moved
// apart, and the node is filled, while clients pull: each blob is in both zones then, and has no copy more than before.
func TestNodeJoinsInAZone(t *testing.T) {
	t.Parallel()
	in := func(zone string) harness.Plan {
		keys := two()
		keys["zone"] = zone
		return harness.Plan{Cluster: keys}
	}
	nodes := harness.StartEach(t, in("a"), in("a"), in("b"))
	l := newLedger(t)
	l.fill(30, nodes...)
	apart(t, nodes[:2], nodes[2:])
	nodes[2].Kill(t)
	until(t, "a push is taken without the zone", func() error { return l.push(t.Context(), nodes[0]) })
	l.fill(9, nodes[:2]...) // few: were they all moved to the new node, that would not be its part
	nodes[2].Serve(t)
	whole(t, nodes[0], 3)

	stop := l.pulling(nodes...)
	defer stop()
	nodes = append(nodes, harness.Join(t, nodes[0], in("b")))
	until(t, "the new node has its part", func() error {
		old, added := bytesIn(t, nodes[2]), bytesIn(t, nodes[3])
		if max(old, added)-min(old, added) > largest { // one more could be moved
			return fmt.Errorf("%d bytes, and the other of its zone has %d", added, old)
		}
		return nil
	})
	apart(t, nodes[:2], nodes[2:])
	whole(t, nodes[3], 4)
	stop()
	l.found(nodes...)
}

// A node stays away for more than ten minutes, and comes back.
func TestNodeIsAwayForLong(t *testing.T) {
	t.Parallel()
	if os.Getenv("LOSS_AWAY") == "" {
		t.Skip("LOSS_AWAY is not set: this takes a quarter of an hour")
	}
	nodes := harness.StartWith(t, 5, two())
	l := newLedger(t)
	l.fill(60, nodes...)
	nodes[0].Kill(t)
	after := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		<-ctx.Done()
	}
	after(time.Minute) // a copy that was being moved off it is recorded now
	away, all := held(t, nodes[1], nodes[0])
	after(8 * time.Minute)
	if now, sum := held(t, nodes[1], nodes[0]); now != away || sum != all {
		t.Errorf("after nine minutes it has %d of %d copies, and had %d of %d", now, sum, away, all)
	}
	within(t, time.Hour, "all copies are on other nodes", func() error {
		if left, _, err := heldBy(t, nodes[1], nodes[0]); err != nil || left > 0 {
			return fmt.Errorf("%d are left, %w", left, err)
		}
		return nil
	})
	l.found(nodes[1:]...)
	before := files(t, nodes[0])
	nodes[0].Serve(t)
	until(t, "what it had is removed", func() error {
		left := 0
		for _, file := range before {
			if _, err := os.Stat(file); err == nil {
				left++
			}
		}
		if left > 0 {
			return fmt.Errorf("%d files are left", left)
		}
		return nil
	})
	until(t, "it is filled again", func() error {
		if have := files(t, nodes[0]); len(have) < all/10 {
			return fmt.Errorf("%d files are there", len(have))
		}
		return nil
	})
	whole(t, nodes[1], 5)
	until(t, "there are no more copies than before", func() error {
		if _, now, err := heldBy(t, nodes[1]); err != nil || now > all {
			return fmt.Errorf("%d copies, and there were %d, %w", now, all, err)
		}
		return nil
	})
	l.found(nodes...)
}
