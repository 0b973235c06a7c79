package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// The stream of a snapshot: snapshotMagic, the format's version (4 bytes), the length of what follows
// (8 bytes, big-endian), a bbolt file of that length, and the SHA-256 of all before it.
const (
	snapshotMagic   = "zot-fsm\n"
	snapshotVersion = 1
	headerSize      = len(snapshotMagic) + 4 + 8
)

// Snapshot is one consistent state as a stream of bytes, for another node or for a backup. It is read
// once. While it is open, the file cannot reuse what is freed, and grows.
type Snapshot struct {
	state    *State
	db       *database
	bolt     *bbolt.Tx
	position entry.Position
	size     int64
	stream   io.Reader
}

// OpenSnapshot takes the newest applied state. It copies nothing. The caller closes the snapshot.
//
// It fails with ErrClosed after Close, and with ErrDamaged.
func (s *State) OpenSnapshot() (snapshot *Snapshot, err error) {
	db := s.acquire()
	if db == nil {
		return nil, ErrClosed
	}
	bolt, err := db.bolt.Begin(false)
	if err != nil {
		s.release(db)
		return nil, fmt.Errorf("begin a snapshot: %w", err)
	}
	snapshot = &Snapshot{state: s, db: db, bolt: bolt}
	if err := snapshot.start(); err != nil {
		return nil, errors.Join(err, snapshot.Close())
	}
	return snapshot, nil
}

func (s *Snapshot) start() (err error) {
	defer func() { err = orDamaged(recover(), err) }()
	s.position = reader{s.bolt}.position()
	pages := metaPages{want: 2 * s.bolt.DB().Info().PageSize}
	if _, err := s.bolt.WriteTo(&pages); !errors.Is(err, errEnough) {
		return fmt.Errorf("read the first pages of a snapshot: %w", err)
	}
	length := s.bolt.Size()
	header := binary.BigEndian.AppendUint32([]byte(snapshotMagic), snapshotVersion)
	header = binary.BigEndian.AppendUint64(header, uint64(length)) //nolint:gosec // a file's size
	s.size = int64(len(header)) + length + sha256.Size
	sum := &trailer{hash: sha256.New()}
	first := int64(len(pages.bytes))
	body := io.MultiReader(
		bytes.NewReader(header), bytes.NewReader(pages.bytes),
		io.NewSectionReader(s.db.file, first, length-first), // pages that this transaction sees are not written again
	)
	s.stream = io.MultiReader(io.TeeReader(body, sum.hash), sum)
	return nil
}

// Position is how far the state in the snapshot has come.
func (s *Snapshot) Position() entry.Position { return s.position }

// Size is how many bytes the stream has, exactly.
func (s *Snapshot) Size() int64 { return s.size }

// Read reads the stream. It fails if the file cannot be read, or is shorter than it was.
func (s *Snapshot) Read(p []byte) (int, error) { return s.stream.Read(p) }

// WriteTo writes what is left of the stream. Its errors are those of Read and of w.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, s.stream) }

// Close lets go of the state. It may be called twice.
func (s *Snapshot) Close() error {
	if s.bolt == nil {
		return nil
	}
	err := s.bolt.Rollback()
	s.state.release(s.db)
	s.bolt = nil
	return err
}

// errEnough ends bbolt's own WriteTo.
var errEnough = errors.New("enough")

// metaPages takes the first pages of what bbolt writes: the two that it makes up for a copy. The rest
// are those of the file, which a Read can take without a goroutine that writes.
type metaPages struct {
	want  int
	bytes []byte
}

func (m *metaPages) Write(p []byte) (int, error) {
	if len(m.bytes) == m.want {
		return 0, errEnough
	}
	m.bytes = append(m.bytes, p...)
	return len(p), nil
}

// trailer reads as the sum of what was hashed before its first Read.
type trailer struct {
	hash hash.Hash
	rest io.Reader
}

func (t *trailer) Read(p []byte) (int, error) {
	if t.rest == nil {
		t.rest = bytes.NewReader(t.hash.Sum(nil))
	}
	return t.rest.Read(p)
}
