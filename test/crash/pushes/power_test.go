// Package pushes_test cuts the power of three whole nodes at once while clients push, and looks whether
// every push that was acknowledged is there afterwards, on each node and with every byte (invariants 1
// and 12).
//
// The nodes are processes of the built binary, which ZOT names, each with its root directory on a file
// system whose power can be cut (powerfs). Start with TestPowerCutsUnderPushes; machine is a node and
// its disk, client what is pushed and what is remembered of it.
package pushes_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/crash/powerfs"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

const (
	clients = 6
	// quiet is how long nothing may change on a disk until the power is cut all the same.
	quiet = 3 * time.Second
)

// rounds is how often the power is cut.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("POWER_CUTS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("POWER_CUTS is %q", text)
	}
	return max(1, n/10)
}

// TestPowerCutsUnderPushes cuts the power of all nodes at random moments while clients push.
func TestPowerCutsUnderPushes(t *testing.T) {
	if err := powerfs.Supported(); err != nil && os.Getenv("CI") == "true" {
		t.Fatal("no power can be cut: ", err) // nobody would see that it was skipped
	} else if err != nil {
		t.Skip("no power can be cut: ", err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed) // of choices; when things happen is left to chance
	rng := rand.New(rand.NewPCG(seed, 0))
	machines := newMachines(t)
	var all []*client
	for i := range clients {
		all = append(all, newClient(fmt.Sprintf("team/app%d", i), rng.Uint64()))
	}
	begun := time.Now()
	lost := losses{}
	for range rounds(t) {
		boot(t, rng, machines)
		checkAll(t, machines, all)
		underLoad(t, machines, all, func() {
			lost.add(cut(t, machines, 1+rng.Uint64N(4000)))
		})
	}
	boot(t, rng, machines)
	checkAll(t, machines, all)
	harness.Verify(t, exec.CommandContext(t.Context(), harness.Program(t, "ZOT"), "cluster", "verify", "--hash", "--config", machines[0].file))
	cut(t, machines, 1)
	pushes, blobs := 0, 0
	for _, c := range all {
		pushes, blobs = pushes+len(c.tags), blobs+len(c.blobs)
	}
	if pushes == 0 {
		t.Error("nothing was acknowledged, so nothing was shown")
	}
	t.Logf("%d crash points: power cuts of %d machines at once, which took %d changes of names and %d sectors; %d pushes of %d blobs were "+
		"acknowledged and are there, %.0f s", rounds(t), len(machines), lost.names, lost.sectors, pushes, blobs, time.Since(begun).Seconds())
}

// losses is what the cuts took.
type losses struct{ names, sectors int }

func (l *losses) add(all []powerfs.Loss) {
	for _, one := range all {
		l.names, l.sectors = l.names+one.Names, l.sectors+one.Sectors
	}
}

// boot switches the machines on and waits until each takes pushes.
func boot(t *testing.T, rng *rand.Rand, machines []*machine) {
	t.Helper()
	for _, m := range machines {
		m.boot(t, rng.Int64())
	}
	for _, m := range machines {
		m.ready(t)
	}
}

// underLoad lets the clients push while do is done, and returns when they have ended.
func underLoad(t *testing.T, machines []*machine, all []*client, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var pushing sync.WaitGroup
	for _, c := range all {
		pushing.Go(func() { c.pushAll(ctx, machines) })
	}
	do()
	cancel()
	pushing.Wait()
}

// cut has the power of all machines fail at once, at the n-th change of the first one's disk from now.
func cut(t *testing.T, machines []*machine, n uint64) []powerfs.Loss {
	t.Helper()
	failing := machines[0].fs.FailAfter(n)
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	select {
	case <-failing:
	case <-timer.C:
	}
	var disks []*powerfs.FS
	for _, m := range machines {
		disks = append(disks, m.fs)
	}
	lost, err := powerfs.CutAll(disks...)
	if err != nil {
		t.Fatalf("cut the power: %v", err)
	}
	for _, m := range machines {
		m.down(t)
	}
	return lost
}

// checkAll looks at every push that was acknowledged, on every node.
func checkAll(t *testing.T, machines []*machine, all []*client) {
	t.Helper()
	var checking sync.WaitGroup
	for _, c := range all {
		checking.Go(func() {
			for _, m := range machines {
				c.check(t, m)
			}
		})
	}
	checking.Wait()
	if t.Failed() {
		for _, m := range machines {
			t.Logf("%s:\n%s", m.name, m.log)
		}
		t.FailNow()
	}
}
