package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

// stream wraps bytes as a snapshot whose header and sum are right.
func stream(file []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("zot-fsm\n"), 1)
	b = binary.BigEndian.AppendUint64(b, uint64(len(file)))
	b = append(b, file...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// FuzzStage gives bytes from a peer or a backup to Stage: as they are, and as a file that was sent
// rightly. Whatever they are, the state that is current stays, and can be read.
func FuzzStage(f *testing.F) {
	whole := snapshotOf(f, filled(f, 3))
	for _, seed := range [][]byte{
		nil, []byte("zot-fsm\n"), whole[:20], whole[:len(whole)-1], whole[:20+2*4096], stream(nil), stream([]byte("no database")), stream(make([]byte, 4*4096)),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Add(whole, false)
	r := newReplica(f)
	do(r, fsm.TermStarted{})
	f.Fuzz(func(t *testing.T, b []byte, wrap bool) {
		if wrap {
			b = stream(b)
		}
		err := r.Stage(bytes.NewReader(b))
		if err == nil && !bytes.Equal(b, whole) {
			t.Fatalf("%d bytes that nobody sent were staged", len(b))
		}
		if r.Position().Index != 1 || r.Fenced() != "" {
			t.Fatalf("the state is at %+v, fenced %q", r.Position(), r.Fenced())
		}
	})
}
