package fsm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// raw is the payload of a command with a body of our own.
func raw(name string, version byte, body ...byte) []byte {
	b := append([]byte{byte(len(name))}, name...)
	return append(append(b, version), body...)
}

func TestAdmit(t *testing.T) {
	good := payloadOf(t, store("a", time.Hour))
	bodyAt := 1 + len("set-store") + 1
	tests := []struct {
		name    string
		payload []byte
		reason  string // "" if it is admitted
	}{
		{"a command", good, ""},
		{"an empty one", raw("term-started", 1, 0xa0), ""},
		{"nothing", nil, "no command name"},
		{"a name only", []byte("\x09set-store"), "no command name"},
		{"unknown command", raw("format-disk", 1, 0xa0), "not known"},
		{"unknown version", raw("set-store", 2, good[bodyAt:]...), "not known"},
		{"no body", raw("set-store", 1), "EOF"},
		{"trailing byte", append(bytes.Clone(good), 0), "extraneous data"},
		{"cut short", good[:len(good)-1], "EOF"},
		{"another type", raw("set-store", 1, 0x80), "cannot unmarshal"},
		{"unknown field", raw("term-started", 1, 0xa1, 0x07, 0x01), "unknown field"},
		{"field twice", raw("hash-check", 1, 0xa2, 0x01, 0x07, 0x01, 0x07), "duplicate"},
		{"long integer", raw("hash-check", 1, 0xa2, 0x01, 0x18, 0x07, 0x02, 0x41, 0xff), "one encoding"},
		{"fields not in order", raw("hash-check", 1, 0xa2, 0x02, 0x41, 0xff, 0x01, 0x07), "one encoding"},
		{"empty field", raw("hash-check", 1, 0xa1, 0x01, 0x00), "one encoding"},
		{"indefinite length", raw("term-started", 1, 0xbf, 0xff), "indefinite"},
		{"a tag", raw("term-started", 1, 0xc1, 0xa0), "tag"},
		{"short hash", raw("delete-session", 1, 0xa1, 0x01, 0x41, 0xff), "one encoding"},
		{"long hash", raw("delete-session", 1, append([]byte{0xa1, 0x01, 0x58, 0x21}, make([]byte, 33)...)...), "one encoding"},
		{"fails its check", raw("hash-check", 1, 0xa1, 0x01, 0x07), "both an index and a hash"},
		{"too large", raw("set-store", 1, make([]byte, entry.MaxPayload)...), "at most"},
	}
	r := newReplica(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := r.Admit(test.payload)
			switch {
			case test.reason == "" && err != nil:
				t.Error(err)
			case test.reason != "" && !errors.Is(err, fsm.ErrNotAdmitted):
				t.Errorf("admitted: %v", err)
			case test.reason != "" && !strings.Contains(err.Error(), test.reason):
				t.Errorf("refused, but because of %q", err)
			}
		})
	}
}

// FuzzAdmit gives a stranger's bytes to a leader: what is admitted can be applied, on this node and on
// every other, to the same effect.
func FuzzAdmit(f *testing.F) {
	names, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		f.Add(readGolden(f, name))
	}
	r := newCluster(f, 3)
	f.Fuzz(func(t *testing.T, payload []byte) {
		r.t = t
		if r.Admit(payload) != nil {
			return
		}
		if payload[0] == byte(len("raise-level")) && strings.HasPrefix(string(payload[1:]), "raise-level") {
			return // stops a binary that does not know the level, and should
		}
		r.apply(r.next(payload))
	})
}

func readGolden(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	payload, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		tb.Fatal(err)
	}
	return payload
}
