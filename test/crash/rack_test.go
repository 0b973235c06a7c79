package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/crash/crashfs"
	"github.com/seed-16d79997/zot/test/crash/disk"
	"github.com/seed-16d79997/zot/test/crash/powerfs"
)

// rack is three machines, whose nodes are a cluster.
type rack struct {
	t        *testing.T
	rng      *rand.Rand // of the test's own goroutine
	noSync   bool
	machines []*machine
	load     *load
	watching sync.WaitGroup
	began    time.Time

	mu       sync.Mutex
	findings []string // guarded by mu

	// Of the test's own goroutine: moments, how many machines lost power at them, and what that took.
	cuts, machinesCut, names, sectors int
	installs, restarts                atomic.Int64
}

// powerCuts is how many power cuts a test is to make.
func powerCuts(t *testing.T) int {
	t.Helper()
	text := os.Getenv("POWER_CUTS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("POWER_CUTS is %q", text)
	}
	return n
}

// newRack builds machines with empty disks, without power.
func newRack(t *testing.T, noSync bool) *rack {
	t.Helper()
	if err := powerfs.Supported(); err != nil {
		t.Skip("no power can be cut: ", err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed) // of choices; when things happen is left to chance
	r := &rack{t: t, rng: rand.New(rand.NewPCG(seed, 0)), noSync: noSync, began: time.Now()}
	// A network of its own, on this machine: the port must be the same after a restart, and nobody else's.
	network := fmt.Sprintf("127.%d.%d", 1+r.rng.IntN(254), r.rng.IntN(255))
	for i := range 3 {
		r.machines = append(r.machines, &machine{
			rack: r, name: fmt.Sprintf("n%d", i+1), address: fmt.Sprintf("%s.%d:7373", network, i+1),
			disk: crashfs.TempDir(t), mnt: t.TempDir(),
		})
	}
	r.load = newLoad(r)
	t.Cleanup(r.end)
	return r
}

// end ends what still runs. It may be called again.
func (r *rack) end() {
	r.load.stop()
	for _, m := range r.machines {
		if m.power != nil {
			r.off(disk.LoseAll, m)
		}
	}
	r.watching.Wait()
}

// finish ends what still runs, and fails the test for what was found.
func (r *rack) finish() {
	r.t.Helper()
	r.end()
	for _, finding := range r.findings {
		r.t.Error(finding)
	}
	l := r.load
	r.t.Logf("%d crash points: power cuts of %d machines, which took %d changes of names and %d sectors; "+
		"%d acknowledged writes, %d unknown outcomes (asked again), %d reads, %d snapshots installed, %d restarts for a stale log, %.0f s",
		r.cuts, r.machinesCut, r.names, r.sectors, l.acknowledged.Load(), l.unknown.Load(), l.reads.Load(),
		r.installs.Load(), r.restarts.Load(), time.Since(r.began).Seconds())
}

func (r *rack) addresses() []string {
	var all []string
	for _, m := range r.machines {
		all = append(all, m.address)
	}
	return all
}

// fail notes what must not be. It may be called by any goroutine.
func (r *rack) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, fmt.Sprintf(format, args...))
}

// failed says whether something was found.
func (r *rack) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.findings) > 0
}

// boot switches machines on and waits until their nodes have opened their directories.
func (r *rack) boot(machines ...*machine) bool {
	for _, m := range machines {
		if err := m.boot(never); err != nil {
			r.fail("boot %s: %v", m.name, err)
			return false
		}
	}
	for _, m := range machines {
		if err := m.wait(); err != nil {
			r.fail("%v", err)
			return false
		}
	}
	return true
}

// cut has the power of all these machines fail at once, at the n-th change of the first one's disk from now.
func (r *rack) cut(n uint64, machines ...*machine) {
	p := machines[0].power
	p.fs.FailAfter(n)
	r.offWhen(p.failing, 2*time.Second, machines...)
}

// offWhen waits for the moment, but not for long, and switches machines off.
func (r *rack) offWhen(moment <-chan struct{}, patience time.Duration, machines ...*machine) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-moment:
	case <-timer.C: // nobody writes
	}
	r.off(disk.Arbitrary, machines...)
	r.cuts++
	r.machinesCut += len(machines)
}

// off cuts the power of machines at one moment and ends their nodes.
func (r *rack) off(policy disk.Policy, machines ...*machine) {
	var all []*powerfs.FS
	for _, m := range machines {
		close(m.power.off)
		all = append(all, m.power.fs)
	}
	losses, err := cutAll(policy, all)
	if err != nil {
		r.fail("cut the power: %v", err)
	}
	for _, loss := range losses {
		r.names, r.sectors = r.names+loss.Names, r.sectors+loss.Sectors
	}
	for _, m := range machines {
		if err := m.down(); err != nil {
			r.fail("%s: %v", m.name, err)
		}
	}
}

func cutAll(policy disk.Policy, all []*powerfs.FS) (losses []powerfs.Loss, err error) {
	if policy == disk.Arbitrary {
		return powerfs.CutAll(all...)
	}
	for _, fs := range all {
		loss, err := fs.CutWith(policy)
		if err != nil {
			return losses, err
		}
		losses = append(losses, loss)
	}
	return losses, nil
}

// others are the machines beside one.
func (r *rack) others(m *machine) []*machine {
	return slices.DeleteFunc(slices.Clone(r.machines), func(o *machine) bool { return o == m })
}

// leader is the machine whose node leads, nil if none says so.
func (r *rack) leader() *machine {
	for _, m := range r.machines {
		if p := m.asked(); p != nil {
			if a, err := p.ask(r.t.Context(), question{Kind: askLook}); err == nil && a.Leads {
				return m
			}
		}
	}
	return nil
}

// eventually waits until why says nothing any more, and fails if it always says something.
func (r *rack) eventually(what string, why func(ctx context.Context) string) bool {
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	said := ""
	for !r.failed() {
		if said = why(ctx); said == "" {
			return true
		}
		if !pause(ctx, 10*time.Millisecond) {
			break
		}
	}
	r.fail("never came to be: %s: %s%s", what, said, r.logs())
	return false
}

// logs are the ends of what the nodes that run have logged.
func (r *rack) logs() string {
	var all strings.Builder
	for _, m := range r.machines {
		if p := m.asked(); p != nil {
			fmt.Fprintf(&all, "\n%s (%s):\n%s", m.name, m.self.Short(), p.log)
		}
	}
	return all.String()
}
