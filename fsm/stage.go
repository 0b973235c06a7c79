package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// ErrSnapshotInvalid is returned by Stage for bytes that are no snapshot, or not as they were sent.
var ErrSnapshotInvalid = errors.New("invalid snapshot")

// Stage reads a whole snapshot and puts it, verified and durable, beside the current state, where
// Install finds it. One that was staged before is discarded.
//
// It fails with ErrSnapshotInvalid, with ErrLevelUnknown for the snapshot of a newer binary, with
// ErrBusy while another Stage or Install runs, and with the errors of r and of the disk. Nothing is
// staged then.
func (s *State) Stage(r io.Reader) error {
	if !s.staging.TryLock() {
		return fmt.Errorf("stage a snapshot: %w", ErrBusy)
	}
	defer s.staging.Unlock()
	defer s.barCompaction(errArrives)() // its file would take the room of this one, and be of the old state
	s.staged = false
	if err := s.clearStage(); err != nil {
		return err
	}
	if err := s.receive(r); err != nil {
		return fmt.Errorf("stage a snapshot: %w", errors.Join(err, s.clearStage()))
	}
	s.staged = true
	return nil
}

// receive writes the file that a snapshot carries and judges it.
func (s *State) receive(r io.Reader) error {
	f, err := s.files.Create(s.stagePath())
	if err != nil {
		return err
	}
	_, err = copySnapshot(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.files.Sync(s.stagePath()); err != nil {
		return err
	}
	return checkSnapshot(s.stagePath())
}

// copySnapshot copies the file out of a snapshot's stream, and fails unless the stream is whole. It returns the sum
// that the stream ends with.
func copySnapshot(w io.Writer, r io.Reader) (id BackupID, err error) {
	sum := sha256.New()
	hashed := io.TeeReader(r, sum)
	length, err := readHeader(hashed)
	if err != nil {
		return id, err
	}
	if _, err := io.CopyN(w, hashed, length); err != nil {
		return id, cutShort(err)
	}
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return id, cutShort(err)
	}
	if !bytes.Equal(id[:], sum.Sum(nil)) {
		return id, fmt.Errorf("%w: its SHA-256 is another", ErrSnapshotInvalid)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || err == nil {
		return id, fmt.Errorf("%w: bytes follow its end", ErrSnapshotInvalid)
	} else if !errors.Is(err, io.EOF) {
		return id, err
	}
	return id, nil
}

func readHeader(r io.Reader) (length int64, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, cutShort(err)
	}
	rest, ok := bytes.CutPrefix(header[:], []byte(snapshotMagic))
	if !ok {
		return 0, fmt.Errorf("%w: it does not begin like one", ErrSnapshotInvalid)
	}
	if v := binary.BigEndian.Uint32(rest); v != snapshotVersion {
		return 0, fmt.Errorf("%w: format %d, this binary reads %d", ErrSnapshotInvalid, v, snapshotVersion)
	}
	n := binary.BigEndian.Uint64(rest[4:])
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("%w: %d bytes", ErrSnapshotInvalid, n)
	}
	return int64(n), nil
}

// cutShort tells a stream that ends too soon from one that cannot be read.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends before its end", ErrSnapshotInvalid)
	}
	return err
}

// checkSnapshot says whether the file at path is a state that this binary understands. Its records are
// not read: their checksums are judged when they are.
func checkSnapshot(path string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w", ErrSnapshotInvalid, orDamaged(p, nil))
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, OpenFile: openExisting})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshotInvalid, err)
	}
	return errors.Join(db.View(checkState), db.Close())
}

// openExisting keeps bbolt from making a file where none is.
func openExisting(name string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag&^os.O_CREATE, mode) //nolint:gosec // below Config.Dir
}

func checkState(bolt *bbolt.Tx) error {
	if bolt.Bucket([]byte(local)) == nil || bolt.Bucket([]byte(meta)) == nil {
		return fmt.Errorf("%w: it holds no state", ErrSnapshotInvalid)
	}
	r := reader{bolt}
	if !r.has(local, keyPosition) {
		return fmt.Errorf("%w: it does not say how far it has come", ErrSnapshotInvalid)
	}
	if err := knownLevel(r.level()); err != nil {
		return err
	}
	return strangeBuckets(bolt, func(name []byte, b *bbolt.Bucket) error {
		if k, _ := b.Cursor().First(); k != nil {
			return fmt.Errorf("%w: bucket %q holds records", ErrLevelUnknown, name)
		}
		return nil
	})
}

// strangeBuckets calls fn with each bucket that this binary does not know. A newer one makes its
// buckets when it starts and uses them only when the feature level is raised: empty ones do not matter.
func strangeBuckets(bolt *bbolt.Tx, fn func(name []byte, b *bbolt.Bucket) error) error {
	known := map[bucket]bool{local: true}
	for _, b := range replicated() {
		known[b] = true
	}
	return bolt.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if known[bucket(name)] {
			return nil
		}
		return fn(name, b)
	})
}
