package cluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/test/sim"
)

// stranger is the node that calls, of which nobody has heard.
func stranger() entry.Incarnation { return entry.Incarnation{15: 1} }

// calls are the paths of all calls between nodes, with bodies that a well-meaning node sends to self.
func calls(tb testing.TB, self entry.Incarnation) map[string][][]byte {
	tb.Helper()
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	first := map[string]any{"name": "a", "incarnation": stranger(), "address": "stranger:7373", "expect": 2}
	second := map[string]any{"name": "n1", "incarnation": self, "address": "n1:7373", "expect": 2}
	names, err := filepath.Glob("../fsm/testdata/*.golden")
	if err != nil || len(names) == 0 {
		tb.Fatal(names, err)
	}
	var proposals [][]byte
	for _, name := range names {
		golden, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		command, err := hex.DecodeString(strings.TrimSpace(string(golden)))
		if err != nil {
			tb.Fatal(err)
		}
		proposals = append(proposals, append(make([]byte, 40), command...)) // without a request id
	}
	return map[string][][]byte{
		"/propose":        proposals,
		"/read-index":     {number(0), number(2)},
		"/term":           nil,
		"/hash":           {number(1), number(1 << 63)},
		"/hello":          nil,
		"/form":           {text(map[string]any{"members": []any{first, second}}), []byte(`{"members":[{},null]}`)},
		"/join":           {text(entry.Node{Incarnation: stranger(), Name: "a", Address: "stranger:7373"}), text(entry.Node{Incarnation: stranger(), Name: "n1", Address: "x"})},
		"/remove":         {[]byte(`{"name":"n7","lost":true}`), []byte(`{"name":"00000000"}`)},
		"/status":         nil,
		"/cluster-status": nil,
		"/transfer":       {[]byte(`{"name":"n7"}`), []byte(`{}`)},
	}
}

// TestEveryCallIsFuzzed finds the calls in the source: whoever adds one gives FuzzCalls its body.
func TestEveryCallIsFuzzed(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "path") || len(spec.Values) != 1 {
				return true
			}
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				path, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Error(err)
				}
				paths = append(paths, path)
			}
			return true
		})
	}
	slices.Sort(paths)
	if fuzzed := slices.Sorted(maps.Keys(calls(t, entry.Incarnation{}))); !slices.Equal(paths, fuzzed) {
		t.Errorf("the calls are %v, fuzzed are %v", paths, fuzzed)
	}
}

// FuzzCalls sends a node what others may send by mistake, or of another version: to a leader, and to one that waits
// for others. Nobody panics or stops, nothing gets into the log that Admit refuses, and the one that waits makes no log.
func FuzzCalls(f *testing.F) {
	heard := &panics{}
	formed, alone := sim.Started(f, 1, sim.Options{Output: heard}), sim.New(f, 2, sim.Options{Output: heard})
	leads, waits := called{formed.Node("n1"), strangerIn(f, formed)}, called{alone.Start("n1"), strangerIn(f, alone)}
	wanted := calls(f, waits.Incarnation())
	paths := slices.Sorted(maps.Keys(wanted))
	for i, path := range paths {
		for _, body := range append(wanted[path], nil, []byte("null"), []byte("{}"), []byte("[]")) {
			f.Add(uint8(i), false, body)
			f.Add(uint8(i), true, body)
		}
	}
	checked := uint64(0)
	f.Fuzz(func(t *testing.T, path uint8, formed bool, body []byte) {
		if bytes.Contains(body, []byte("\x0ahash-check")) {
			return // one with another hash than the node's own fences it, and should
		}
		n := waits
		if formed {
			n = leads
		}
		n.call(t, paths[int(path)%len(paths)], body)
		if text := heard.String(); text != "" {
			t.Fatalf("%s: %s", paths[int(path)%len(paths)], text)
		}
		select {
		case <-n.Ended():
			t.Fatalf("the node has ended: %v", n.Err())
		default:
		}
		if why := n.State.Fenced(); why != "" {
			t.Fatalf("the node is fenced: %s", why)
		}
		if !formed {
			if n.LastIndex() > 0 || n.Servers() > 0 {
				t.Fatal("the node that waits for others has a log")
			}
			return
		}
		payloads, last, err := n.Commands(checked)
		if err != nil {
			t.Fatal(err)
		}
		checked = last
		for _, payload := range payloads {
			if err := n.State.Admit(payload); err != nil {
				t.Fatalf("the log has %q: %v", payload, err)
			}
		}
	})
}

// TestLargeCalls sends what is much longer than it should be, which the fuzzer does not get to.
func TestLargeCalls(t *testing.T) {
	heard := &panics{}
	formed := sim.Started(t, 1, sim.Options{Output: heard})
	n := called{formed.Node("n1"), strangerIn(t, formed)}
	for _, path := range slices.Sorted(maps.Keys(calls(t, n.Incarnation()))) {
		n.call(t, path, make([]byte, peer.MaxBody))
		n.call(t, path, []byte(`{"name":"`+strings.Repeat("long ", 1<<17)+`","incarnation":"00000000000000000000000000000002","address":"b:1"}`))
	}
	if payloads, _, err := n.Commands(0); err != nil || slices.ContainsFunc(payloads, func(p []byte) bool { return len(p) > 1000 }) {
		t.Errorf("something long is in the log: %v", err)
	}
	if text := heard.String(); text != "" {
		t.Error(text)
	}
}

// called is a node, and a stranger who knows the secret.
type called struct {
	*sim.Node
	from *peer.Peer
}

func strangerIn(tb testing.TB, c *sim.Cluster) *peer.Peer {
	tb.Helper()
	p, err := peer.New(peer.Config{
		Cluster: "sim", Node: "stranger", Incarnation: stranger().String(), Listen: "stranger:7373",
		Secrets: [][]byte{[]byte(sim.Secret)}, Network: c.Network.Host("stranger"),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// call has the stranger call. Whatever the node says is right, but that it was surprised.
func (n called) call(t *testing.T, path string, body []byte) {
	t.Helper()
	patience := time.Second
	if path == "/hash" { // it waits for entries that never come
		patience = 10 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := n.from.Call(ctx, peer.Target{Address: "n1:7373", Incarnation: n.Incarnation().String()}, path, body)
	if remote, ok := errors.AsType[*peer.RemoteError](err); ok {
		switch remote.Code {
		case peer.CodePanic, peer.CodeInternal, peer.CodeUnknownPath:
			t.Errorf("%s: %v", path, err)
		}
	}
}

// panics are the lines of a log that tell of one.
type panics struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes a line.
func (p *panics) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic")) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.text.Write(line)
	}
	return len(line), nil
}

// String is what was heard.
func (p *panics) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}
