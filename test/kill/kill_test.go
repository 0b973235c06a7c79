// Package kill_test kills the nodes of a cluster of real processes while clients push, pull and delete, and
// checks what the clients saw: no pull fails, a push fails only in ways that it may be repeated after, the
// history of every tag is linearizable, and nothing that was acknowledged is lost (invariants 1, 2, 5, 6, 7,
// 11).
//
// It speaks to the nodes as clients and operators do: over HTTP, through each node's operator socket, by
// signals. Only when all have ended it looks into their files. README.md says what counts as a failure. Start
// with TestKill; nemesis_test.go has the faults, worker_test.go the load.
package kill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

const (
	workers   = 8
	maxLayers = 1500 << 20 // bytes of layers in a run, after which new ones are small
	shown     = 5          // failures that are printed in full
)

func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	e, err := readEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if e.zot == "" {
		e.zot = build(t)
	}
	for i := range e.runs {
		for _, size := range e.nodes {
			s := setting{seed: e.seed + uint64(i), size: size, duration: e.duration, zot: e.zot}
			t.Run(fmt.Sprintf("nodes=%d/seed=%d", size, s.seed), func(t *testing.T) { runBout(t, s, e.out) })
		}
	}
}

// TestKillInBucket is TestKill on three nodes with all copies in one bucket.
func TestKillInBucket(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	e, err := readEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	s := setting{seed: e.seed, size: 3, duration: e.duration, zot: e.zot, bucket: harness.StartBucket(t)}
	if s.zot == "" {
		s.zot = build(t)
	}
	if e.out != "" {
		e.out = filepath.Join(e.out, "bucket")
	}
	t.Run(fmt.Sprintf("seed=%d", s.seed), func(t *testing.T) { runBout(t, s, e.out) })
}

// build makes the binary once.
func build(t *testing.T) string {
	t.Helper()
	zot := filepath.Join(t.TempDir(), "zot")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", zot, "../../cmd/zot").CombinedOutput()
	if err != nil {
		t.Fatalf("build zot: %v\n%s", err, out)
	}
	return zot
}

// bout is one run: a cluster, a load and a nemesis.
type bout struct {
	setting
	t       *testing.T
	began   time.Time
	rack    *rack
	gallery *gallery
	ledger  *ledger
	history *history
	figures *figures
	abort   context.CancelFunc
	over    atomic.Bool // the load is to end
	loaded  uint64      // the log index that the load came to
	used    *content    // the probe's blob, which manifests name at all times

	mu       sync.Mutex
	failures int // guarded by mu
}

// fail notes a failure and ends the run. It may be called concurrently.
func (b *bout) fail(format string, args ...any) {
	b.mu.Lock()
	b.failures++
	count := b.failures
	b.mu.Unlock()
	b.abort()
	text := fmt.Sprintf(format, args...)
	b.say("FAILED: %s", text)
	if count <= shown {
		b.t.Errorf("%s\n(seed %d, %d nodes; logs lie in %s)", text, b.seed, b.size, b.out)
	}
}

// say prints a line with the time, as it is in the nodes' logs.
func (b *bout) say(format string, args ...any) {
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	fmt.Printf("%s %s\n", time.Now().UTC().Format(clock), text)
}

func (b *bout) isOver() bool { return b.over.Load() }

// runBout is one run, and all checks after it.
func runBout(t *testing.T, s setting, out string) {
	dir, err := os.MkdirTemp("", "kill") //nolint:usetesting // t.TempDir is too long for the operator's socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.out = logsOf(t, s, out)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &bout{
		setting: s, t: t, began: time.Now(), gallery: newGallery(s.seed, maxLayers), ledger: newLedger(),
		history: newHistory(), figures: newFigures(), abort: cancel,
	}
	if b.rack, err = newRack(s, dir, b.fail); err != nil {
		t.Fatal(err)
	}
	defer b.rack.release()
	defer b.rack.end(syscall.SIGKILL)
	b.say("seed %d, %d nodes, replicas %d, logs in %s", s.seed, s.size, s.replicas(), s.out)
	if !b.form(ctx) {
		return
	}
	b.load(ctx)
	b.audit(ctx)
	if ctx.Err() == nil {
		b.takeHash(ctx)
	}
	took := time.Since(b.began)
	b.rack.end(syscall.SIGTERM)
	if ctx.Err() == nil {
		b.autopsy()
	}
	b.judge()
	t.Logf("seed %d, %d nodes, replicas %d, %s of load:\n%s", s.seed, s.size, s.replicas(), took.Round(time.Second), b.figures)
}

// logsOf is the directory of the logs. One that nobody named goes when all is well.
func logsOf(t *testing.T, s setting, out string) string {
	t.Helper()
	if out != "" {
		dir := filepath.Join(out, fmt.Sprintf("seed%d-nodes%d", s.seed, s.size))
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir, err := os.MkdirTemp("", "kill-logs") //nolint:usetesting // t.TempDir does not stay after a failure
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

// form starts all nodes and waits until each takes pushes.
func (b *bout) form(ctx context.Context) bool {
	for _, n := range b.rack.nodes {
		b.rack.start(ctx, n)
	}
	began := time.Now()
	for _, n := range b.rack.nodes {
		for b.rack.living(ctx, n, patience) == nil || !n.probe(ctx, "/readyz?for=write") {
			if ctx.Err() != nil || time.Since(began) > 2*patience {
				b.fail("%s takes no pushes after %s:\n%s", n.name, time.Since(began), n.lastWords(20))
				return false
			}
			wait(ctx, 50*time.Millisecond)
		}
	}
	b.say("all nodes take pushes")
	return true
}

// load has workers at work until the nemesis has done its plan.
func (b *bout) load(ctx context.Context) {
	images, ok := b.worker(0).setUp(ctx)
	if !ok {
		return
	}
	var working sync.WaitGroup
	for i := range workers {
		w := b.worker(i + 1)
		working.Go(func() { w.work(ctx) })
	}
	working.Go(func() { b.probe(ctx, images) })
	b.torment(ctx)
	b.over.Store(true)
	working.Wait()
	b.say("the load has ended")
}

func (b *bout) worker(id int) *worker {
	return &worker{bout: b, id: id, rng: b.random(fmt.Sprintf("worker %d", id))}
}

// judge checks the history.
func (b *bout) judge() {
	b.gallery.mu.Lock()
	images := map[string]value{}
	for d, number := range b.gallery.byDigest {
		images[d.String()] = number
	}
	b.gallery.mu.Unlock()
	b.history.spread(images)
	began := time.Now()
	for _, what := range b.history.judge(b.out) {
		b.fail("%s", what)
	}
	b.figures.took("checking the history", time.Since(began))
}
