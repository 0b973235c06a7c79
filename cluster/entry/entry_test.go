package entry_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// An envelope as it lies in logs: it must be read for ever.
const (
	wrapped = "01" + // version
		"000102030405060708090a0b0c0d0e0f" + // incarnation
		"1011121314151617" + // random
		"0000000000000007" + // sequence
		"00000000000003e8" + // first try
		"0000000000000003" + // term
		"00000000000007d0" + // time
		"fffffffffffffffe" + // date
		"6162" // payload
)

func envelope() entry.Envelope {
	return entry.Envelope{
		Request: entry.RequestID{Incarnation: entry.Incarnation{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Random: 0x1011121314151617, Sequence: 7, FirstTry: 1000},
		Term:    3, Time: 2000, Date: -2,
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	if got := hex.EncodeToString(entry.Wrap(envelope(), []byte("ab"))); got != wrapped {
		t.Errorf("wrapped:\n%s, want\n%s", got, wrapped)
	}
	b, err := hex.DecodeString(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	got, payload, err := entry.Unwrap(b)
	if err != nil || got != envelope() || string(payload) != "ab" {
		t.Errorf("unwrapped: %+v, %q, %v", got, payload, err)
	}
	for length := range len(b) - len("ab") {
		if _, _, err := entry.Unwrap(b[:length]); !errors.Is(err, entry.ErrMalformed) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	for _, version := range []byte{0, 2, 0xff} {
		b[0] = version
		if _, _, err := entry.Unwrap(b); !errors.Is(err, entry.ErrMalformed) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// FuzzUnwrap: whatever is read is the one encoding of what was read.
func FuzzUnwrap(f *testing.F) {
	whole := entry.Wrap(envelope(), []byte("ab"))
	f.Add(whole)
	f.Add(whole[:len(whole)-2])
	f.Add(whole[:20])
	f.Add(append([]byte{2}, whole[1:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, payload, err := entry.Unwrap(b)
		if err != nil {
			if !errors.Is(err, entry.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if again := entry.Wrap(e, payload); !bytes.Equal(again, b) {
			t.Errorf("%x is read as %+v and %x, which is written as %x", b, e, payload, again)
		}
	})
}

func TestParseIncarnation(t *testing.T) {
	t.Parallel()
	const text = "000102030405060708090a0b0c0d0e0f"
	i, err := entry.ParseIncarnation(text)
	if err != nil || i != envelope().Request.Incarnation || i.String() != text || i.Short() != text[:8] || i.IsZero() {
		t.Errorf("%s, %v", i, err)
	}
	for _, bad := range []string{"", text[:30], text[:31], text + "00", " " + text[1:], text[:30] + "0g", strings.Repeat("0", 1<<16)} {
		if i, err := entry.ParseIncarnation(bad); err == nil || !i.IsZero() {
			t.Errorf("%.40q: %s, %v", bad, i, err)
		}
	}
}

// FuzzNode: a node's announcement, as it travels, comes out as it went in.
func FuzzNode(f *testing.F) {
	node := entry.Node{Incarnation: entry.Incarnation{1}, Name: "n1", Address: "n1:7373", Zone: "z", Version: "v", Level: 3, State: entry.Member}
	text, err := json.Marshal(node)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"Incarnation":"00","Name":"n1"}`))
	f.Add([]byte(`{"Incarnation":null,"State":255}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var node, again entry.Node
		if json.Unmarshal(text, &node) != nil {
			return
		}
		if node.State.String() == "" || len(node.Incarnation.String()) != 32 {
			t.Errorf("%+v has a state or incarnation without a name", node)
		}
		said, err := json.Marshal(node)
		if err != nil || json.Unmarshal(said, &again) != nil || again != node {
			t.Errorf("%+v becomes %+v by %s, %v", node, again, said, err)
		}
	})
}
