package chaos_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

const (
	registers  = 20
	pool       = 4096 // manifests; a register is given none twice in so many writes
	counters   = 256
	terms      = 128 // counters for the jobs of leaders, one a term until they come round
	repository = "chaos/registers"
	mediaType  = "application/vnd.oci.image.manifest.v1+json"
)

// registry is where the clients' values lie in the replicated state: the registers are tags, their
// values manifests, and the counters are the pulls of some more manifests.
type registry struct {
	config  fsm.Digest // a blob that all manifests name
	bodies  [][]byte   // of each value; of 0 and of the counters too
	digests []fsm.Digest
	values  map[fsm.Digest]value
	next    [registers]atomic.Int64

	nextCount atomic.Int64
	mu        sync.Mutex
	counts    [counters]uint64 // acknowledged; guarded by mu
	jobs      [terms]jobCount  // guarded by mu
}

func newRegistry() (*registry, error) {
	r := &registry{values: map[fsm.Digest]value{}}
	config, err := fsm.Pack(digest.FromString("config"))
	r.config = config
	for i := range 1 + pool + counters + terms {
		body := fmt.Appendf(nil, `{"config":{"digest":"%s"},"number":%d}`, config, i)
		d, err := fsm.Pack(digest.FromBytes(body))
		if err != nil {
			return nil, err
		}
		r.bodies, r.digests = append(r.bodies, body), append(r.digests, d)
		r.values[d] = value(i)
	}
	return r, err
}

func tagOf(register int) string { return fmt.Sprintf("r%d", register) }

// newValue is one that the register has not been given for long: a value that comes back in a history
// was not written again.
func (r *registry) newValue(register int) value {
	return value(1 + (r.next[register].Add(1)-1)%pool)
}

// valueOf is the value that a manifest stands for, -1 for one that is not ours.
func (r *registry) valueOf(d fsm.Digest) value {
	if v, ours := r.values[d]; ours {
		return v
	}
	return -1
}

func (r *registry) manifest(number int) fsm.PutManifest {
	body := r.bodies[number]
	return fsm.PutManifest{
		Repository: repository, Store: fsm.DefaultStore, Digest: r.digests[number], Size: int64(len(body)),
		MediaType: mediaType, Body: body, Blobs: []fsm.Digest{r.config},
	}
}

// command is what a change of a register is to the product.
func (r *registry) command(c call) fsm.Command {
	if c.action == remove {
		return fsm.DeleteTag{Repository: repository, Tag: tagOf(c.register)}
	}
	put := r.manifest(int(c.value))
	move := fsm.TagMove{Tag: tagOf(c.register)}
	if c.action == swap {
		move.If = fsm.TagCondition{Absent: c.from == 0}
		if c.from > 0 {
			move.If.Is = r.digests[c.from]
		}
	}
	put.Tags = []fsm.TagMove{move}
	return put
}

func (b *bout) payload(c call) []byte { return b.encode(b.command(c)) }

func (b *bout) pull(counter int) []byte {
	return b.encode(fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: repository, Digest: b.counter(counter), Count: 1}}})
}

// counter is the manifest whose pulls are a counter.
func (r *registry) counter(number int) fsm.Digest { return r.digests[1+pool+number] }

func (b *bout) encode(c fsm.Command) []byte {
	payload, err := fsm.Encode(c)
	if err != nil {
		b.fail("encode: %v", err)
	}
	return payload
}

// nextCounter goes round, so that a second effect of one request does not hide behind another request.
func (r *registry) nextCounter() int { return int(r.nextCount.Add(1)-1) % counters }

func (r *registry) counted(counter int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[counter]++
}

// setUp makes the repository with its one blob, and the counters.
func (b *bout) setUp(ctx context.Context, n *sim.Node) error {
	numbers := fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 3, WriteAcks: 1, Place: fsm.Place{Bucket: "blobs"}}
	if _, err := fsm.Do(ctx, n, numbers); err != nil {
		return err
	}
	// The copy lies in a bucket, so that nodes come and go without anybody who copies blobs.
	stored := fsm.BlobStored{
		Repository: repository, Store: fsm.DefaultStore, Digest: b.config, Size: 6,
		Locations: []fsm.Location{{Copy: fsm.CopyID{1}}}, Stamp: n.State.Position().Time,
	}
	if _, err := fsm.Do(ctx, n, stored); err != nil {
		return err
	}
	var mu sync.Mutex
	var setting sync.WaitGroup
	var failed error
	for chunk := range slices.Chunk(slices.Collect(upTo(counters+terms)), (counters+terms)/16) {
		setting.Go(func() {
			for _, i := range chunk {
				if _, err := fsm.Do(ctx, n, b.manifest(1+pool+i)); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
			}
		})
	}
	setting.Wait()
	return failed
}

func upTo(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// checkCounters compares the pulls in a state with those that were acknowledged: one each, whatever was
// repeated, and none for what was said not to be applied (invariant 9).
func (b *bout) checkCounters(v fsm.View) {
	b.registry.mu.Lock()
	defer b.registry.mu.Unlock()
	for i, want := range b.counts {
		if got, _ := v.Pulls(repository, b.counter(i)); got != want {
			b.fail("invariant 9: counter %d is %d, %d increments were acknowledged", i, got, want)
		}
	}
	for i, j := range b.jobs {
		if got, _ := v.Pulls(repository, b.counter(counters+i)); got < j.done || got > j.done+j.unknown {
			b.fail("invariant 10: the job of term %d (modulo %d) counted %d times and perhaps %d more, its counter is %d", i, terms, j.done, j.unknown, got)
		}
	}
}
