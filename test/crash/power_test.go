// Package crash_test cuts the power under whole nodes, three real processes over real TCP, each with its
// data directory on a file system whose power can be cut (powerfs).
//
// Whatever was acknowledged must be there afterwards, nothing may be half there, no node's state may have
// gone back, and all states must be equal. Start reading at the tests in power_test.go; rack has the
// machines and load the clients, whose writes tell by themselves if one before them was lost or had two
// effects. node is the process of a node.
package crash_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// victims picks one machine, or all of them with the one whose disk sets the moment first.
func (r *rack) victims(all bool) []*machine {
	first := r.machines[r.rng.IntN(len(r.machines))]
	if !all {
		return []*machine{first}
	}
	return append([]*machine{first}, r.others(first)...)
}

// TestPowerCutsUnderLoad cuts the power at random moments while clients write and read.
func TestPowerCutsUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRack(t, false)
	defer r.finish()
	cuts := powerCuts(t)
	if !r.boot(r.machines...) || !r.settled() || !r.load.start() {
		return
	}
	for i := 1; r.cuts < cuts && !r.failed(); i++ {
		victims := r.victims(r.rng.IntN(4) == 0)
		r.cut(1+r.rng.Uint64N(400), victims...)
		if len(victims) == 1 && r.rng.IntN(2) == 0 {
			r.progress(5) // the others go on
		}
		if !r.boot(victims...) {
			return
		}
		if r.rng.IntN(4) > 0 { // else the next cut may come while this one is being mended
			r.serves(victims[0])
		}
		if i%20 == 0 {
			r.agree()
		}
	}
	r.agree()
}

// TestPowerCutsWhileForming cuts the power of nodes that become a cluster. One comes of it, whatever happens.
func TestPowerCutsWhileForming(t *testing.T) {
	t.Parallel()
	for round := 0; round < max(1, powerCuts(t)/20) && !t.Failed(); round++ {
		r := newRack(t, false)
		r.bootAndCut(60, r.victims(true)...)
		r.bootAndCut(120, r.victims(r.rng.IntN(2) == 0)...)
		if r.boot(r.dark()...) && r.settled() && r.load.start() && r.progress(20) {
			r.agree()
		}
		r.finish()
	}
}

// TestPowerCutsWhileInstalling cuts the power while a node that was away is sent a snapshot.
func TestPowerCutsWhileInstalling(t *testing.T) {
	t.Parallel()
	r := newRack(t, false)
	defer r.finish()
	if !r.boot(r.machines...) || !r.settled() || !r.load.start() {
		return
	}
	for round := 0; round < max(1, powerCuts(t)/10) && !r.failed(); round++ {
		victims := r.victims(r.rng.IntN(4) == 0)
		if !r.missesMuch(victims[0]) {
			return
		}
		r.cut(1+r.rng.Uint64N(60), victims...)
		if !r.boot(victims...) || !r.serves(victims[0]) {
			return
		}
	}
	r.agree()
}

// missesMuch cuts a machine's power until it is behind what the others' logs keep, and returns when a snapshot begins to arrive
// there. It is false if none ever does.
func (r *rack) missesMuch(m *machine) bool {
	for writes := int64(150); writes <= 1200; writes *= 2 {
		r.cut(1, m)
		if !r.progress(writes) || !r.boot(m) {
			return false
		}
		if r.isSentSnapshot(m) {
			return true
		}
		// The others cut their logs from time to time: they had not done so yet.
	}
	r.fail("no snapshot was sent to a node that had been away")
	return false
}

// isSentSnapshot returns true when a snapshot begins to arrive at a machine that was away, and false when it has all without.
func (r *rack) isSentSnapshot(m *machine) bool {
	p := m.asked()
	ctx, cancel := context.WithCancel(r.t.Context())
	caughtUp := make(chan struct{})
	go func() { // waited for below
		defer close(caughtUp)
		for !r.load.readAt(ctx, m) && pause(ctx, 10*time.Millisecond) { // what it answers is as new as any node's
			if r.failed() {
				return
			}
		}
	}()
	defer func() { cancel(); <-caughtUp }()
	select {
	case <-p.staging:
		return true
	case <-caughtUp:
	}
	select {
	case <-p.staging:
		return true
	default:
		return false
	}
}

// TestPowerCutsWhileJoining gives a node an empty disk, and cuts the power while it takes its old place: its
// own, its leader's, or everybody's.
func TestPowerCutsWhileJoining(t *testing.T) {
	t.Parallel()
	r := newRack(t, false)
	defer r.finish()
	if !r.boot(r.machines...) || !r.settled() || !r.load.start() {
		return
	}
	for round := 0; round < max(1, powerCuts(t)/20) && !r.failed(); round++ {
		joining := r.victims(true)
		r.cut(1, joining[0])
		if err := joining[0].wipe(); err != nil {
			t.Fatal(err)
		}
		victims := joining
		switch r.rng.IntN(3) {
		case 0:
			victims = joining[:1]
		case 1:
			if leader := r.leader(); leader != nil {
				victims = []*machine{leader}
			}
		}
		r.bootAndCut(400, victims...)
		if !r.boot(r.dark()...) || !r.settled() || !r.serves(joining[0]) {
			return
		}
		r.agree()
	}
}

// bootAndCut switches on what is off, and cuts the power of some machines when the disk of the first of them
// has changed less than so many times.
func (r *rack) bootAndCut(most uint64, victims ...*machine) {
	after := 1 + r.rng.Uint64N(most)
	var booting sync.WaitGroup
	booted := r.dark()
	if !slices.Contains(booted, victims[0]) {
		victims[0].power.fs.FailAfter(after)
	}
	for _, m := range booted {
		moment := uint64(never)
		if m == victims[0] {
			moment = after
		}
		if err := m.boot(moment); err != nil {
			r.fail("boot %s: %v", m.name, err)
			return
		}
		booting.Go(func() {
			if err := m.wait(); err != nil && !errors.Is(err, errCut) {
				r.fail("%v", err)
			}
		})
	}
	r.offWhen(victims[0].power.failing, time.Second, victims...)
	booting.Wait()
}

// dark are the machines that are off.
func (r *rack) dark() []*machine {
	return slices.DeleteFunc(slices.Clone(r.machines), func(m *machine) bool { return m.power != nil })
}

// TestCutsWithoutSyncAreSeen shows that these tests can fail: nodes that never fsync lose what they have
// acknowledged.
func TestCutsWithoutSyncAreSeen(t *testing.T) {
	t.Parallel()
	const racks = 3
	seen := 0
	for i := range racks {
		r := newRack(t, true)
		if !r.boot(r.machines...) || !r.settled() || !r.load.start() || !r.progress(100) {
			t.Fatal(r.findings)
		}
		policy := disk.LoseAll
		if i == 1 {
			policy = disk.Arbitrary
		}
		r.off(policy, r.machines...)
		if r.boot(r.machines...) {
			r.serves(r.machines[0])
		}
		r.end()
		if r.failed() {
			seen++
			t.Logf("seen: %.400s", r.findings[0])
		}
	}
	if seen == 0 {
		t.Errorf("nodes that never sync lost nothing in %d cuts of all power", racks)
	}
	t.Logf("%d of %d clusters were seen to lose what they had acknowledged, or were damaged", seen, racks)
}
