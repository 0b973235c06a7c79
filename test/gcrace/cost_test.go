package gcrace_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/gc"
)

const (
	garbage = 1000
	few     = 1_000 // manifests
	many    = 100_000

	// costOf names a directory with the state whose garbage the child process collects.
	costOf   = "GCRACE_COST_OF"
	database = "go.etcd.io/bbolt"
)

// TestCostIsThatOfTheGarbage: 1,000 blobs are collected with as many operations of bbolt in a registry of
// 100,000 manifests as in one of 1,000. They are counted where they are executed, in a process of its own that
// is built to count: bbolt's statistics do not have the steps of a cursor, which is what a search through
// everything would consist of.
func TestCostIsThatOfTheGarbage(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	in := map[int]map[string]int{}
	for _, manifests := range []int{few, many} {
		dir := t.TempDir()
		fill(t, dir, manifests)
		in[manifests] = count(t, dir)
		t.Logf("%d blobs of garbage among %d manifests: %d operations, %v", garbage, manifests, total(in[manifests]), in[manifests])
	}
	ratio := float64(total(in[many])) / float64(total(in[few]))
	t.Logf("ratio %.3f", ratio)
	if total(in[few]) < 10*garbage {
		t.Errorf("%d operations cannot be all", total(in[few]))
	}
	if ratio < 1/1.2 || ratio > 1.2 {
		t.Errorf("the cost of collection follows the registry: ratio %.3f", ratio)
	}
}

func total(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// count collects the garbage of the state in dir in a child process, and returns how often each operation of
// bbolt was executed.
func count(t *testing.T, dir string) map[string]int {
	t.Helper()
	profile := filepath.Join(dir, "profile")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run=^TestCollectOnce$", "-covermode=count", "-coverpkg="+database, "-coverprofile="+profile, ".")
	cmd.Env = append(os.Environ(), costOf+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("collect in a process of its own: %v\n%s", err, out)
	}
	f, err := os.Open(profile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	begins := operations(t)
	counts := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		block := blocks.FindStringSubmatch(lines.Text())
		if block == nil {
			continue // the mode
		}
		if name := begins[block[1]]; name != "" {
			n, err := strconv.Atoi(block[2])
			if err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			counts[name] += n
		}
	}
	return counts
}

// blocks takes apart a line of a profile: the file and line where a block begins, and how often it was executed.
var blocks = regexp.MustCompile(`^(.+:\d+)\.\d+,\d+\.\d+ \d+ (\d+)$`)

// operations says where in bbolt's source each operation begins, as a profile has it: the line of the body's
// brace.
func operations(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", database).Output()
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{"Bucket.Get", "Bucket.Put", "Bucket.Delete", "Cursor.First", "Cursor.Last", "Cursor.Next", "Cursor.Prev", "Cursor.Seek"}
	begins := map[string]string{}
	for _, file := range []string{"bucket.go", "cursor.go"} {
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, filepath.Join(strings.TrimSpace(string(out)), file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && slices.Contains(wanted, receiver(f)+"."+f.Name.Name) {
				begins[fmt.Sprintf("%s/%s:%d", database, file, files.Position(f.Body.Lbrace).Line)] = receiver(f) + "." + f.Name.Name
			}
		}
	}
	if len(begins) != len(wanted) {
		t.Fatalf("found %v in bbolt, wanted %v", begins, wanted)
	}
	return begins
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	star, ok := f.Recv.List[0].Type.(*ast.StarExpr)
	if !ok {
		return ""
	}
	name, _ := star.X.(*ast.Ident)
	return name.Name
}

// TestCollectOnce is the child process.
func TestCollectOnce(t *testing.T) {
	dir := os.Getenv(costOf)
	if dir == "" {
		t.Skip("part of another test")
	}
	s := openState(t, dir)
	job, err := gc.New(gc.Deps{Store: fsm.DefaultStore, State: s, Proposer: s, Every: time.Hour, Logger: hclog.NewNullLogger()})
	if err == nil {
		err = job.Do(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.blobs != garbage {
		t.Errorf("%d blobs were collected, not %d", s.blobs, garbage)
	}
}

// stateOfOne is the state of a cluster of one, which applies what it is handed.
type stateOfOne struct {
	*fsm.State
	batch []entry.Entry
	blobs int // collected
}

func openState(t *testing.T, dir string) *stateOfOne {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &stateOfOne{State: state}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Propose applies a command of the collector.
func (s *stateOfOne) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	s.batch = nil
	s.add(payload, time.Millisecond)
	result := s.Apply(s.batch)[0]
	if done, err := fsm.Decode(fsm.CollectBlobs{}, result); err == nil {
		s.blobs += done.Blobs
	}
	return result, nil
}

// add makes a payload the next entry of the batch.
func (s *stateOfOne) add(payload []byte, later time.Duration) {
	at := s.Position()
	if len(s.batch) > 0 {
		last := s.batch[len(s.batch)-1]
		at.Index, at.Time = last.Index, last.Envelope.Time
	}
	s.batch = append(s.batch, entry.Entry{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload, Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(later), Date: 1},
	})
}

// fill makes a state with garbage and with manifests, each of which has a blob of its own.
func fill(t *testing.T, dir string, manifests int) {
	t.Helper()
	s := openState(t, dir)
	add := func(cmd fsm.Command, later time.Duration) {
		payload, err := fsm.Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if s.add(payload, later); len(s.batch) == 2000 {
			s.flush(t)
		}
	}
	add(fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{1}, Name: "zot-0", Level: 1}}, 0)
	add(fsm.NodeJoined{Incarnation: entry.Incarnation{1}}, 0)
	add(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1}, 0)
	s.flush(t)
	copies := uint64(0)
	stored := func(repository, text string) fsm.BlobStored {
		copies++
		location := fsm.Location{Incarnation: entry.Incarnation{1}}
		binary.BigEndian.PutUint64(location.Copy[:], copies*0x9e3779b97f4a7c15) // as spread as random ones
		return fsm.BlobStored{
			Repository: repository, Store: fsm.DefaultStore, Digest: packed(t, text), Size: 1, Locations: []fsm.Location{location}, Stamp: s.Position().Time,
		}
	}
	for i := range garbage {
		add(stored(fmt.Sprint("gone/", i%100), fmt.Sprint("gone ", i)), time.Millisecond)
	}
	s.flush(t)
	for range 60 {
		add(fsm.TermStarted{}, time.Minute)
	}
	s.flush(t)
	for i := range manifests {
		repository, layer, body := fmt.Sprint("kept/", i%(manifests/20)), fmt.Sprint("kept ", i), fmt.Sprint("manifest ", i)
		add(stored(repository, layer), time.Millisecond)
		add(fsm.PutManifest{
			Repository: repository, Store: fsm.DefaultStore, Digest: packed(t, body), Size: int64(len(body)), Body: []byte(body),
			MediaType: "application/vnd.oci.image.manifest.v1+json", Blobs: []fsm.Digest{packed(t, layer)}, Tags: []fsm.TagMove{{Tag: fmt.Sprint("t", i%50)}},
		}, time.Millisecond)
	}
	s.flush(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// flush applies the batch, of which nothing may be refused.
func (s *stateOfOne) flush(t *testing.T) {
	t.Helper()
	for _, result := range s.Apply(s.batch) {
		if err := s.Explain(result); err != nil {
			t.Fatal(err)
		}
	}
	s.batch = nil
}

func packed(t *testing.T, text string) fsm.Digest {
	t.Helper()
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
