package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/fsm"
)

// verify runs 'zot cluster verify' against the node.
func (p *process) verify(args ...string) (v verdict, got called) {
	p.t.Helper()
	got = p.zot(append([]string{"verify", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil {
		p.t.Fatalf("%v: %+v", err, got)
	}
	if (got.code == exitDone) != (len(v.Broken) == 0 && len(v.Unchecked) == 0) {
		p.t.Errorf("exit code %d for %+v", got.code, v)
	}
	return v, got
}

// findings are the invariants that are broken, and where.
func (v verdict) findings() (all []string) {
	for _, f := range v.Broken {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%d %s", f.Invariant, strings.Join(f.Nodes, " "))))
	}
	return all
}

// finds sees to it that nothing is found but this. Blobs may wait for repair.
//
// On a busy machine a node may be late, or there is an election: then all are asked again. What was found till then counts, for
// it may be mended meanwhile.
func (p *process) finds(want []string, args ...string) verdict {
	p.t.Helper()
	v, got := p.verify(args...)
	have := v.findings()
	insist(p.t, func() (done bool) {
		if done = len(v.Unchecked) == 0; !done {
			p.t.Logf("%s: %+v", p.name, v.Unchecked)
			v, got = p.verify(args...)
			have = slices.Compact(slices.Sorted(slices.Values(append(have, v.findings()...))))
		}
		return done
	})
	if len(want) > 1 && want[0] == "1" && slices.Equal(have, want[1:]) && p.status().Blobs.AtOneCopy == 0 {
		want = want[1:] // repair was faster
	}
	waits := func(hint string) bool { return strings.Contains(hint, " for repair") }
	if !slices.Equal(have, want) || len(v.Unchecked) > 0 || len(slices.DeleteFunc(v.Hints, waits)) > 0 {
		p.t.Errorf("found %q, want %q; %+v\n%s", have, want, v, got.stderr)
	}
	return v
}

// pushLayers pushes an image of these layers, with one of them as its configuration.
func pushLayers(t *testing.T, port, tag string, layers ...string) {
	t.Helper()
	at := "http://127.0.0.1:" + port + "/v2/team/app/"
	var described []string
	for _, l := range layers {
		sent(t, http.MethodPost, at+"blobs/uploads/?digest="+digestOf([]byte(l)), l, http.StatusCreated)
		described = append(described, fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":%d}`, digestOf([]byte(l)), len(l)))
	}
	sent(t, http.MethodPut, at+"manifests/"+tag, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":`+
		described[0]+`,"layers":[`+strings.Join(described, ",")+`]}`, http.StatusCreated)
}

// copyOf is the file of the node's copy of a blob that no other has the size of.
func (p *process) copyOf(content string) string {
	p.t.Helper()
	for _, file := range copiesIn(p.t, p.root) {
		if info, err := os.Stat(file); err == nil && info.Size() == int64(len(content)) {
			return file
		}
	}
	p.t.Fatalf("%s has no copy of %d bytes", p.name, len(content))
	return ""
}

func removeFile(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// layersOfThree starts three nodes and pushes an image to them, whose layers each have another size.
func layersOfThree(t *testing.T) (all []*process, layers []string) {
	t.Helper()
	all = threeNodes(t)
	restart(all)
	all[0].whole()
	layers = make([]string, 6)
	for i := range layers {
		layers[i] = strings.Repeat("a layer ", 100+i)
	}
	layers[2] = strings.Repeat("of several chunks ", 1<<16)
	pushLayers(t, all[0].port, "1", layers...)
	eventually(t, "each node has a copy of each", func() bool { return all[1].status().Blobs == blobHealth{} })
	return all, layers
}

// Each break of a copy is found, by the right invariant, and nothing else is. A node that cannot be asked is named.
func TestVerifyCopiesOfThreeNodes(t *testing.T) {
	t.Parallel()
	all, layers := layersOfThree(t)
	want := int64(len(strings.Join(layers, "")))
	for _, n := range all[1].finds(nil, "--hash").Nodes {
		if !n.Answered || n.Applied == 0 || n.Copies != 6 || n.Bytes != want || n.Hashed != want {
			t.Errorf("%+v", n)
		}
	}
	testVerifyAway(t, all)
	testVerifyCopies(t, all, layers)
}

// A node whose state is not that of the others is found, and nothing else is.
func TestVerifyStatesOfThreeNodes(t *testing.T) {
	t.Parallel()
	all, _ := layersOfThree(t)
	all[2].end(syscall.SIGTERM)
	file := filepath.Join(all[2].root, "node", fsm.FileName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, file string)
		find  []string
	}{
		"it differs from the others, and from its own records": {divergedState, []string{"7 zot-2", "7 zot-2"}},
		"a bit has flipped": {rottenState, []string{"7 zot-2"}},
	} {
		t.Log(name)
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		test.spoil(t, file)
		all[2].start()
		var v verdict
		eventually(t, "the node answers all that it is asked", func() bool {
			v, _ = all[0].verify()
			have := v.findings()
			// One that is fenced between the questions is found by what it was, and by what it is.
			return v.Nodes[2].Answered && (len(v.Unchecked) == 0 && len(have) <= len(test.find) || slices.Equal(have, test.find))
		})
		if have := v.findings(); !slices.Equal(have, test.find) {
			t.Errorf("found %q, want %q; %+v", have, test.find, v)
		}
		all[2].end(syscall.SIGKILL)
	}
}

// testVerifyCopies breaks copies, of another blob each time: those of before are given up by then, and wait for
// repair, which is no break.
func testVerifyCopies(t *testing.T, all []*process, layers []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for i, test := range []struct {
		name string
		do   func()
		find []string
		args []string
	}{
		{"a file is gone", func() { removeFile(t, all[0].copyOf(layers[0])) }, []string{"5 zot-0"}, nil},
		{"a file is cut", func() { cut(t, all[1].copyOf(layers[1])) }, []string{"5 zot-1"}, nil},
		{"a bit has flipped, which only hashing finds", func() { flipBit(t, all[2].copyOf(layers[2]), rng) }, nil, nil},
		{"the same, hashed", func() {}, []string{"5 zot-2"}, []string{"--hash"}},
		{"two of three are gone", func() {
			removeFile(t, all[0].copyOf(layers[3]))
			removeFile(t, all[1].copyOf(layers[3]))
		}, []string{"1", "5 zot-0", "5 zot-1"}, nil},
		{"all are gone", func() {
			for _, p := range all {
				removeFile(t, p.copyOf(layers[4]))
			}
		}, []string{"2", "5 zot-0", "5 zot-1", "5 zot-2"}, nil},
	} {
		t.Log(test.name)
		test.do()
		all[i%3].finds(test.find, test.args...)
		eventually(t, "the bad copies are given up", func() bool {
			v, _ := all[0].verify(test.args...)
			return !slices.ContainsFunc(v.Broken, func(f finding) bool { return f.Invariant == 5 })
		})
	}
	eventually(t, "the blob is known to be damaged", func() bool { return all[0].status().Blobs.Damaged == 1 })
	all[0].finds([]string{"2"})
	pushLayers(t, all[0].port, "1", layers...)
	all[0].finds(nil, "--hash")
}

func cut(t *testing.T, file string) {
	t.Helper()
	if err := os.Truncate(file, 7); err != nil {
		t.Fatal(err)
	}
}

// testVerifyAway stops a node: what it has cannot be checked, and nothing is said to be broken.
func testVerifyAway(t *testing.T, all []*process) {
	t.Helper()
	all[2].end(syscall.SIGTERM)
	eventually(t, "another leads", func() bool { s := all[0].status(); return s.Leader != "" && s.Leader != all[2].name })
	var v verdict
	eventually(t, "only zot-2 is missed", func() bool {
		var got called
		v, got = all[0].verify()
		if len(v.Broken) > 0 {
			t.Fatalf("without zot-2: %+v\n%s", v, got.stderr)
		}
		return len(v.Unchecked) == 1 && v.Unchecked[0].Node == "zot-2" && strings.Contains(got.stderr, "zot-2 could not be asked")
	})
	if v.Nodes[2].Answered || !v.Nodes[1].Answered {
		t.Errorf("%+v", v.Nodes)
	}
	all[2].start()
	all[2].ready("/readyz?for=write")
	all[0].whole()
}

// divergedState changes what a node takes for the sum of its records, by which states are compared.
func divergedState(t *testing.T, file string) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, key := tx.Bucket([]byte("local")), []byte("sum/tags")
		sum := slices.Clone(b.Get(key)[4:])
		sum[0] ^= 1
		return b.Put(key, append(checksum(key, sum), sum...))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// rottenState flips a bit of a record.
func rottenState(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rotten := bytes.ReplaceAll(content, []byte("application/vnd.oci.image.manifest.v1+json"), []byte("Application/vnd.oci.image.manifest.v1+json"))
	if bytes.Equal(rotten, content) {
		t.Fatal("the record is not in the file")
	}
	if err := os.WriteFile(file, rotten, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checksum is what stands before a record of the state.
func checksum(key, value []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(key, table), table, value))
}
