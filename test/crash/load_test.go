package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	registers  = 6
	readers    = 2
	repository = "crash/registers"
	mediaType  = "application/vnd.oci.image.manifest.v1+json"
)

// manifest is a value of a register: a register is a tag, and to write it is to push.
type manifest struct {
	Register string `json:"register"`
	Value    int    `json:"value"`
	Padding  string `json:"padding"`
}

// register counts up. Only its writer writes it, and not the next value before the last one is
// acknowledged, so at any moment it holds what was acknowledged or what is tried.
type register struct {
	name         string
	rng          *rand.Rand
	tried        atomic.Int64
	acknowledged atomic.Int64
	digests      map[int]fsm.Digest // of the last values; the writer's own
}

// load is what clients do all the time.
type load struct {
	rack      *rack
	config    fsm.Digest // a blob that all manifests name
	registers []*register

	gate    sync.RWMutex // who holds it alone has no write under way
	cancel  context.CancelFunc
	clients sync.WaitGroup

	acknowledged, unknown, reads atomic.Int64
}

func newLoad(r *rack) *load {
	config, err := fsm.Pack(digest.FromString("config"))
	if err != nil {
		r.t.Fatal(err)
	}
	l := &load{rack: r, config: config, cancel: func() {}}
	for i := range registers {
		l.registers = append(l.registers, &register{
			name: fmt.Sprintf("r%d", i), rng: rand.New(rand.NewPCG(r.rng.Uint64(), 1)), digests: map[int]fsm.Digest{},
		})
	}
	return l
}

// start makes what the registers need, and has clients write and read until stop.
func (l *load) start() bool {
	ctx, cancel := context.WithCancel(l.rack.t.Context())
	l.cancel = cancel
	// The copy lies in a bucket, so that nodes come and go without anybody who copies blobs.
	for _, cmd := range []fsm.Command{
		fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 3, WriteAcks: 1, Place: fsm.Place{Bucket: "blobs"}},
		fsm.BlobStored{
			Repository: repository, Store: fsm.DefaultStore, Digest: l.config, Size: 6,
			Locations: []fsm.Location{{Copy: fsm.CopyID{1}}},
		},
	} {
		if !l.insist(ctx, l.rack.rng, cmd) {
			return false
		}
	}
	for _, r := range l.registers {
		l.clients.Go(func() { l.write(ctx, r) })
	}
	for range readers {
		rng := rand.New(rand.NewPCG(l.rack.rng.Uint64(), 2))
		l.clients.Go(func() { l.read(ctx, rng) })
	}
	return true
}

// stop ends the clients. It may be called again.
func (l *load) stop() {
	l.cancel()
	l.clients.Wait()
}

// write counts a register up, and deletes the manifests of before.
func (l *load) write(ctx context.Context, r *register) {
	for value := 1; ctx.Err() == nil; value++ {
		l.gate.RLock()
		done := l.put(ctx, r, value)
		l.gate.RUnlock()
		if !done {
			return
		}
	}
}

func (l *load) put(ctx context.Context, r *register, value int) bool {
	r.tried.Store(int64(value))
	put, err := l.manifestOf(r, value)
	if err != nil {
		l.rack.fail("%v", err)
		return false
	}
	if !l.insist(ctx, r.rng, put) {
		return false
	}
	r.acknowledged.Store(int64(value))
	l.acknowledged.Add(1)
	if value == 1 {
		return true
	}
	if !l.insist(ctx, r.rng, fsm.DeleteManifest{Repository: repository, Digest: r.digests[value-1]}) {
		return false
	}
	l.acknowledged.Add(1)
	delete(r.digests, value-1)
	return true
}

// manifestOf is the push of a value. Its tag must still be where the last one has left it: a lost write, or
// one with two effects, would have it refused.
func (l *load) manifestOf(r *register, value int) (fsm.PutManifest, error) {
	size := r.rng.IntN(2000)
	if r.rng.IntN(10) == 0 {
		size = r.rng.IntN(40_000) // many pages
	}
	body, err := json.Marshal(manifest{r.name, value, string(bytes.Repeat([]byte{'x'}, size))})
	if err != nil {
		return fsm.PutManifest{}, err
	}
	d, err := fsm.Pack(digest.FromBytes(body))
	r.digests[value] = d
	return fsm.PutManifest{
		Repository: repository, Store: fsm.DefaultStore, Digest: d, Size: int64(len(body)), MediaType: mediaType, Body: body,
		Blobs: []fsm.Digest{l.config},
		Tags:  []fsm.TagMove{{Tag: r.name, If: fsm.TagCondition{Absent: value == 1, Is: r.digests[value-1]}}},
	}, err
}

// insist proposes a command under one request id, at one node after the other, until it is applied. It
// returns false if ctx ends first, and fails if the command is refused.
func (l *load) insist(ctx context.Context, rng *rand.Rand, cmd fsm.Command) bool {
	payload, err := fsm.Encode(cmd)
	if err != nil {
		l.rack.fail("encode: %v", err)
		return false
	}
	var id entry.RequestID
	for ; ctx.Err() == nil && !l.rack.failed(); pause(ctx, time.Millisecond) {
		m := l.rack.machines[rng.IntN(len(l.rack.machines))]
		p := m.asked()
		if p == nil {
			continue
		}
		if id.IsZero() {
			a, err := p.ask(ctx, question{Kind: askName})
			if err != nil {
				continue
			}
			id = a.Request
		}
		a, err := p.ask(ctx, question{Kind: askPropose, Request: id, Payload: payload})
		if err != nil {
			if a.Unknown {
				l.unknown.Add(1)
			}
			continue
		}
		m.said(a.Applied)
		if a.Outcome != entry.Applied {
			l.rack.fail("%T as %s: outcome %d: %.200q", cmd, id, a.Outcome, a.Result)
			return false
		}
		return true
	}
	return false
}

// read reads at one node after the other.
func (l *load) read(ctx context.Context, rng *rand.Rand) {
	for ; ctx.Err() == nil && !l.rack.failed(); pause(ctx, time.Duration(rng.IntN(4000))*time.Microsecond) {
		l.readAt(ctx, l.rack.machines[rng.IntN(len(l.rack.machines))])
	}
}

// readAt reads all registers at one node, linearizably: what was acknowledged before the question is there,
// and nothing that nobody has tried. It returns false if the node did not answer.
func (l *load) readAt(ctx context.Context, m *machine) bool {
	p := m.asked()
	if p == nil {
		return false
	}
	least := map[string]int64{}
	for _, r := range l.registers {
		least[r.name] = r.acknowledged.Load()
	}
	a, err := p.ask(ctx, question{Kind: askRead})
	if err != nil {
		return false
	}
	m.said(a.Applied)
	l.reads.Add(1)
	for _, r := range l.registers {
		if got := int64(a.Values[r.name]); got < least[r.name] || got > r.tried.Load() {
			l.rack.fail("%s is %d at %s, acknowledged was %d, tried %d", r.name, got, m.name, least[r.name], r.tried.Load())
		}
	}
	return true
}
