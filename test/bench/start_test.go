package bench

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// manifests is how many the state of BenchmarkStart holds, of three blobs each.
const manifests = 100_000

// BenchmarkStart measures the start of a node whose state is large: from the start of the process to the
// first linearizable read, and the anonymous memory that it has then.
func BenchmarkStart(b *testing.B) {
	p := &process{config: nodeConfig{Dir: b.TempDir(), Name: "n1", Address: freeAddress(b), Control: freeAddress(b)}}
	p.config.Seeds = []string{p.config.Address}
	fill(b, p.config, func(fsm.CopyID, string) {})
	b.Cleanup(p.kill)
	took, memory := time.Duration(0), 0.0
	for b.Loop() {
		p.kill()
		began := time.Now()
		p.start(b)
		p.until(b, http.MethodGet, "/value")
		took = time.Since(began)
		memory = p.rss(b)
	}
	b.ReportMetric(float64(took.Milliseconds()), "start-ms")
	b.ReportMetric(memory/(1<<20), "RssAnon-MiB")
}

// fill makes the directory of a member of a cluster of one, with all the manifests in its state, and calls blob
// with each copy and its content. It returns who the node is.
func fill(b *testing.B, c nodeConfig, blob func(id fsm.CopyID, content string)) entry.Incarnation {
	b.Helper()
	d, err := cluster.OpenDirectory(c.Dir, fsm.SystemFiles())
	check(b, err)
	state, err := fsm.Open(fsm.Config{Dir: c.Dir, Incarnation: d.Incarnation, NoSync: true})
	check(b, err)
	config := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{
		ID: raft.ServerID(d.Incarnation.String()), Address: raft.ServerAddress(d.Incarnation.String() + "@" + c.Address),
	}}})
	f := &filler{b: b, state: state, index: 1}
	state.Apply([]entry.Entry{{Index: 1, Term: 1, Kind: entry.Configuration, Payload: config}})
	f.do(fsm.NodeStarted{Node: entry.Node{Incarnation: d.Incarnation, Name: c.Name, Address: c.Address, Level: 1, State: entry.Joining}})
	f.do(fsm.NodeJoined{Incarnation: d.Incarnation})
	f.do(fsm.SetStore{Name: "default", GCDelay: 1000 * time.Hour, Replicas: 1, WriteAcks: 1})
	for i := range manifests {
		repository := fmt.Sprintf("team%d/app%d", i%10, i%500)
		blobs := make([]fsm.Digest, 3)
		for k := range blobs {
			content, id := fmt.Sprint("blob ", i, " ", k), fsm.CopyID{byte(i), byte(i >> 8), byte(i >> 16), byte(k)}
			blobs[k] = pack(b, content)
			f.do(fsm.BlobStored{
				Repository: repository, Store: "default", Digest: blobs[k], Size: int64(len(content)), Stamp: f.now,
				Locations: []fsm.Location{{Incarnation: d.Incarnation, Copy: id}},
			})
			blob(id, content)
		}
		body := fmt.Sprintf("%d %s", i, strings.Repeat("x", 900))
		f.do(fsm.PutManifest{
			Repository: repository, Store: "default", Digest: pack(b, body), Size: int64(len(body)), Body: []byte(body),
			MediaType: "application/vnd.oci.image.manifest.v1+json", Blobs: blobs, Tags: []fsm.TagMove{{Tag: fmt.Sprint("v", i)}},
		})
	}
	f.flush()
	node, err := cluster.New(cluster.Config{
		Dir: c.Dir, Incarnation: d.Incarnation, Cluster: "bench", Node: c.Name, Timing: cluster.DefaultTiming(),
		State: sim.Machine{State: state}, Roster: state, Files: fsm.SystemFiles(),
	})
	check(b, err)
	check(b, node.Close())
	check(b, state.Close())
	check(b, d.Seal())
	return d.Incarnation
}

// filler applies commands in batches, without a log.
type filler struct {
	b     *testing.B
	state *fsm.State
	index uint64
	now   entry.Time
	batch []entry.Entry
}

func (f *filler) do(c fsm.Command) {
	payload, err := fsm.Encode(c)
	check(f.b, err)
	f.index++
	f.batch = append(f.batch, entry.Entry{
		Index: f.index, Term: 1, Kind: entry.Command, Envelope: entry.Envelope{Term: 1, Time: f.now}, Payload: payload,
	})
	if len(f.batch) == 1000 || f.index < 5 {
		f.flush()
	}
}

func (f *filler) flush() {
	if len(f.batch) == 0 {
		return
	}
	for i, result := range f.state.Apply(f.batch) {
		if err := f.state.Explain(result); err != nil {
			f.b.Fatalf("entry %d: %v", f.batch[i].Index, err)
		}
	}
	f.batch = f.batch[:0]
}

func pack(b *testing.B, text string) fsm.Digest {
	b.Helper()
	d, err := fsm.Pack(digest.FromString(text))
	check(b, err)
	return d
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
