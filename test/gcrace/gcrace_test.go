// Package gcrace_test races garbage collection against pushes, on a cluster of real processes whose leader is
// killed: sixteen clients push images that share layers, mount, push again and delete, while what nobody
// refers to is collected within seconds. It checks that no push loses what it was promised (GC.md), that no
// visible manifest lacks a blob (invariant 2), and that nothing is left when all is deleted.
//
// It speaks to the nodes as clients and operators do, and looks into their files when they have ended.
// README.md says what counts as a failure. Start with TestGCRace; promises_test.go has what a client may
// rely on, worker_test.go the load, remains_test.go what must be left, and what must not.
package gcrace_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

const (
	workers   = 16
	size      = 3                // nodes
	replicas  = 3                // copies of a blob
	acks      = 2                // durable ones before a 201
	lease     = 5 * time.Second  // gcDelay
	interval  = 2 * time.Second  // gcInterval
	killEvery = 20 * time.Second // the leader
	shown     = 5                // failures that are printed in full
)

func TestGCRace(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	s, err := readSetting()
	if err != nil {
		t.Fatal(err)
	}
	if s.zot == "" {
		s.zot = build(t)
	}
	t.Run(fmt.Sprintf("seed=%d", s.seed), func(t *testing.T) { runRace(t, s) })
}

// prefix is that of the keys in the bucket.
const prefix = "gcrace"

// TestGCRaceInBucket is TestGCRace with all copies in one bucket.
func TestGCRaceInBucket(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	s, err := readSetting()
	if err != nil {
		t.Fatal(err)
	}
	s.bucket = harness.StartBucket(t)
	if s.zot == "" {
		s.zot = build(t)
	}
	if s.out != "" {
		s.out += "-bucket"
	}
	t.Run(fmt.Sprintf("seed=%d", s.seed), func(t *testing.T) { runRace(t, s) })
}

// setting is what a run is made with.
type setting struct {
	seed     uint64
	duration time.Duration   // of the load
	out      string          // where logs lie
	zot      string          // the binary
	bucket   *harness.Bucket // where copies go; nil: onto the nodes' disks
}

func readSetting() (s setting, err error) {
	s = setting{seed: rand.Uint64N(1_000_000), duration: 2 * time.Minute, out: os.Getenv("GCRACE_OUT"), zot: os.Getenv("ZOT")}
	if text := os.Getenv("GCRACE_SEED"); text != "" {
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return s, fmt.Errorf("GCRACE_SEED: %w", err)
		}
	}
	if text := os.Getenv("GCRACE_DURATION"); text != "" {
		if s.duration, err = time.ParseDuration(text); err != nil {
			return s, fmt.Errorf("GCRACE_DURATION: %w", err)
		}
	}
	return s, nil
}

// random is a source of its own for each part of a run, so that one does not change what another draws.
func (s setting) random(part string) *rand.Rand {
	n := s.seed
	for _, c := range part {
		n = n*1099511628211 + uint64(c)
	}
	return rand.New(rand.NewPCG(s.seed, n))
}

// build makes the binary.
func build(t *testing.T) string {
	t.Helper()
	zot := filepath.Join(t.TempDir(), "zot")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", zot, "../../cmd/zot").CombinedOutput()
	if err != nil {
		t.Fatalf("build zot: %v\n%s", err, out)
	}
	return zot
}

// race is one run.
type race struct {
	setting
	t        *testing.T
	rack     *rack
	gallery  *gallery
	promises *promises
	shelves  *shelves
	fading   *faders
	figures  *figures
	abort    context.CancelFunc
	over     atomic.Bool // the load is to end

	mu       sync.Mutex
	failures int // guarded by mu
}

// fail notes a failure and ends the run. It may be called concurrently.
func (r *race) fail(format string, args ...any) {
	r.mu.Lock()
	r.failures++
	count := r.failures
	r.mu.Unlock()
	r.abort()
	text := fmt.Sprintf(format, args...)
	r.say("FAILED: %s", text)
	if count <= shown {
		r.t.Errorf("%s\n(seed %d; logs lie in %s)", text, r.seed, r.out)
	}
}

// say prints a line with the time, as it is in the nodes' logs.
func (r *race) say(format string, args ...any) {
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	fmt.Printf("%s %s\n", time.Now().UTC().Format(clock), text)
}

// runRace is one run, and all checks after it.
func runRace(t *testing.T, s setting) {
	dir, err := os.MkdirTemp("", "gcrace") //nolint:usetesting // t.TempDir is too long for the operator's socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.out = logsOf(t, s.out)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &race{
		setting: s, t: t, gallery: newGallery(s.seed), promises: newPromises(), shelves: newShelves(), fading: &faders{}, figures: newFigures(), abort: cancel,
	}
	if r.rack, err = newRack(s, dir, r.fail); err != nil {
		t.Fatal(err)
	}
	defer r.rack.release()
	defer r.rack.end(syscall.SIGKILL)
	r.say("seed %d, %s of load, gcDelay %s, gcInterval %s, logs in %s", s.seed, s.duration, lease, interval, s.out)
	for _, step := range []func(ctx context.Context){r.start, r.load, r.audit, r.verify, r.stop, r.autopsy, r.start, r.deleteAll, r.drained, r.verify, r.stop, r.empty} {
		if step(ctx); ctx.Err() != nil {
			break
		}
	}
	t.Logf("seed %d, %s of load:\n%s", s.seed, s.duration, r.figures)
}

// logsOf is the directory of the logs. One that nobody named goes when all is well.
func logsOf(t *testing.T, out string) string {
	t.Helper()
	if out != "" {
		if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o700)); err != nil {
			t.Fatal(err)
		}
		return out
	}
	dir, err := os.MkdirTemp("", "gcrace-logs") //nolint:usetesting // t.TempDir does not stay after a failure
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}

// start starts all nodes and waits until each takes pushes.
func (r *race) start(ctx context.Context) {
	for _, n := range r.rack.nodes {
		r.rack.start(ctx, n)
	}
	began := time.Now()
	for _, n := range r.rack.nodes {
		for !r.rack.isLiving(n) || !n.probe(ctx, "/readyz?for=write") {
			if ctx.Err() != nil {
				return
			}
			if time.Since(began) > 2*patience {
				r.fail("%s takes no pushes after %s:\n%s", n.name, time.Since(began), n.lastWords(20))
				return
			}
			wait(ctx, 50*time.Millisecond)
		}
	}
}

// stop stops all nodes in order.
func (r *race) stop(context.Context) { r.rack.end(syscall.SIGTERM) }

// load has workers at work while the leader is killed again and again.
func (r *race) load(ctx context.Context) {
	began := time.Now()
	var working sync.WaitGroup
	for i := range workers {
		w := r.worker(fmt.Sprint("worker ", i))
		working.Go(func() { w.work(ctx) })
	}
	r.torment(ctx, began)
	r.over.Store(true)
	working.Wait()
	if ctx.Err() != nil {
		return
	}
	r.say("the load has ended")
	r.judgeLoad(time.Since(began))
}

// judgeLoad checks that enough was done for the run to say anything, and that enough of it went at the first
// try.
func (r *race) judgeLoad(took time.Duration) {
	f := r.figures
	pushes, first := f.of("pushes", "done"), f.of("pushes", "at the first try")
	f.note("pushes a second", fmt.Sprintf("%.1f", float64(pushes)/took.Seconds()))
	if pushes == 0 || 2*first < pushes {
		r.fail("%d of %d pushes succeeded at the first try, less than half", first, pushes)
	}
	if f.of("promises", "kept") == 0 || f.of("PUT manifest", "in time") == 0 {
		r.fail("no promise was put to the test")
	}
}

// torment kills the leader every so often until the load has taken its time.
func (r *race) torment(ctx context.Context, began time.Time) {
	rng := r.random("nemesis")
	for next := began.Add(killEvery); next.Before(began.Add(r.duration)); next = next.Add(killEvery) {
		wait(ctx, time.Until(next))
		r.promises.forget(time.Now())
		n := r.rack.leader(ctx)
		if ctx.Err() != nil || n == nil {
			return
		}
		down := time.Duration(100+rng.IntN(1900)) * time.Millisecond
		r.say("%s leads and is killed, for %s", n.name, down)
		r.figures.count("faults", "leader killed")
		r.rack.kill(n)
		wait(ctx, down)
		r.rack.start(ctx, n)
	}
	wait(ctx, time.Until(began.Add(r.duration)))
}
