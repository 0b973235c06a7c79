package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// keepFrom is the size from which an upload survives a restart. For smaller ones the file beside it would
// cost half as much again as the blob itself; its client starts anew.
const keepFrom = 1 << 20

// stateMagic is the first bytes of such a record; the digit is its version.
const stateMagic = "blobupl1"

// uploadState is what is kept beside the bytes of an upload, so that they can be checked before it goes on.
// Its file is a row of records, each of which adds to those before: in place of a file it would be renamed
// over the old one, for which some file systems write the data out at once.
type uploadState struct {
	id        blobstore.UploadID
	ended     bool
	algorithm digest.Algorithm
	active    blobstore.Time
	size      int64
	sums      []uint32 // of size bytes, that of the last, shorter chunk too
}

// stateHead is the length of a record without sums: magic, id, ended, algorithm, active, size, from, sum.
const stateHead = len(stateMagic) + 16 + 1 + 1 + 8 + 8 + 4 + 4

// encode returns the record that makes a file which says all this of one that knows the first chunks' sums.
func (u uploadState) encode(from int) []byte {
	b := append([]byte(stateMagic), u.id[:]...)
	b = append(b, flag(u.ended), sums.AlgorithmByte(u.algorithm))
	b = binary.BigEndian.AppendUint64(b, uint64(u.active)) //nolint:gosec // the same bits come back
	b = binary.BigEndian.AppendUint64(b, uint64(u.size))   //nolint:gosec // a size is not negative
	b = binary.BigEndian.AppendUint32(b, uint32(from))     //nolint:gosec // 2^32 chunks are 1 PiB
	return sums.Seal(sums.Append(b, u.sums[from:]))
}

// decodeState folds the records of a file. What a crash has left behind the last whole one is passed over;
// sums.ErrRecord is returned if there is none.
func decodeState(b []byte) (u uploadState, err error) {
	found := false
	for {
		from, end := nextRecord(b)
		if end > len(b) || from > len(u.sums) {
			break
		}
		next, err := decodeRecord(b[:end], from)
		if err != nil || found && next.id != u.id {
			break
		}
		next.sums = append(u.sums[:from:from], next.sums...)
		u, b, found = next, b[end:], true
	}
	if !found {
		return u, sums.ErrRecord
	}
	return u, nil
}

// nextRecord returns the chunk whose sum is the first in a record, and where the record ends: behind b if b
// begins with none.
func nextRecord(b []byte) (from, end int) {
	if len(b) < stateHead {
		return 0, len(b) + 1
	}
	size := binary.BigEndian.Uint64(b[stateHead-16:])
	first := uint64(binary.BigEndian.Uint32(b[stateHead-8:]))
	sums := (size+blobstore.ChunkSize-1)/blobstore.ChunkSize - first // huge if there are less than none
	if size > 1<<60 || sums > 1<<32 {
		return 0, len(b) + 1
	}
	return int(first), stateHead + int(4*sums) //nolint:gosec // both are bounded
}

// decodeRecord reads one record; its sums are those from a chunk on.
func decodeRecord(b []byte, from int) (u uploadState, err error) {
	in, err := sums.Unseal(b, stateMagic)
	if err != nil {
		return u, err
	}
	copy(u.id[:], in.Take(len(u.id)))
	ended := in.Byte()
	u.ended = ended == 1
	u.algorithm, _ = sums.AlgorithmOf(in.Byte())
	u.active = blobstore.Time(binary.BigEndian.Uint64(in.Take(8))) //nolint:gosec // the bits that were written
	u.size = in.Int64()
	in.Take(4)
	u.sums = in.Sums(sums.Chunks(u.size) - int64(from))
	if ended > 1 || u.algorithm == "" {
		in.Bad = true
	}
	return u, in.Err()
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// readState returns what is kept of an upload. What a power cut left unreadable is as unknown as what is not
// there: the error is blobstore.ErrUploadUnknown for both.
func (s *Store) readState(id blobstore.UploadID) (uploadState, error) {
	b, err := readFile(s.files, stateName(id), 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return uploadState{}, s.missing("read upload", blobstore.ErrUploadUnknown)
	}
	if err != nil {
		return uploadState{}, s.fault("read upload", err)
	}
	u, err := decodeState(b)
	if err == nil && u.id != id {
		err = fmt.Errorf("%w: it is of upload %s", sums.ErrRecord, u.id)
	}
	if err != nil {
		return uploadState{}, fmt.Errorf("%w: read upload: %w", blobstore.ErrUploadUnknown, err)
	}
	return u, nil
}

// kept says what the file of an upload's state has, as far as this process wrote it.
type kept struct {
	end    int64 // its length; 0 is nothing
	chunks int   // whose sums cannot change any more
	size   int64
	active blobstore.Time
}

// keep writes the state of an upload down, over a crash of the machine too if sync is set. The first time a
// file is made that holds all of it, later it grows by what is new.
func (s *Store) keep(u *upload, state uploadState, sync bool) (err error) {
	record := state.encode(u.kept.chunks)
	if u.kept.end > 0 {
		err = s.addRecord(stateName(u.id), record, u.kept.end, sync)
	} else {
		err = writeFile(s.files, stateName(u.id), record, sync)
		if err == nil && sync {
			err = s.files.SyncDir(uploadsDir)
		}
	}
	if err != nil {
		u.kept = kept{} // who knows what the file has now: the next one is whole
		return s.fault("keep state of upload", err)
	}
	chunks := int(state.size / blobstore.ChunkSize)
	u.kept = kept{end: u.kept.end + int64(len(record)), chunks: chunks, size: state.size, active: state.active}
	u.onDisk = true
	return nil
}

func (s *Store) addRecord(name string, record []byte, end int64, sync bool) error {
	f, err := s.files.OpenFile(name, os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(record, end)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// says reports whether the file says u already.
func (k *kept) says(u uploadState) bool {
	return k.end > 0 && k.size == u.size && k.active == u.active
}
