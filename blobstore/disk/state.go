package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// uploadState is what is kept beside the bytes of an upload, so that they can be checked before it goes on.
type uploadState struct {
	id        blobstore.UploadID
	ended     bool
	algorithm digest.Algorithm
	active    blobstore.Time
	size      int64
	sums      []uint32 // of size bytes, that of the last, shorter chunk too
}

func (u uploadState) encode() []byte {
	b := append([]byte(stateMagic), u.id[:]...)
	b = append(b, flag(u.ended), algorithmByte(u.algorithm))
	b = binary.BigEndian.AppendUint64(b, uint64(u.active)) //nolint:gosec // the same bits come back
	b = binary.BigEndian.AppendUint64(b, uint64(u.size))   //nolint:gosec // a size is not negative
	return seal(appendSums(b, u.sums))
}

// decodeState returns errRecord for all that encode does not make.
func decodeState(b []byte) (u uploadState, err error) {
	in, err := unseal(b, stateMagic)
	if err != nil {
		return u, err
	}
	copy(u.id[:], in.take(len(u.id)))
	ended := in.byte()
	u.ended = ended == 1
	u.algorithm, _ = algorithmOf(in.byte())
	u.active = blobstore.Time(binary.BigEndian.Uint64(in.take(8))) //nolint:gosec // the bits that were written
	u.size = in.int64()
	u.sums = in.sums(u.size)
	if ended > 1 || u.algorithm == "" {
		in.bad = true
	}
	return u, in.err()
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
	b, err := readFile(s.files, uploadName(id)+stateSuffix, 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return uploadState{}, s.missing("read upload", blobstore.ErrUploadUnknown)
	}
	if err != nil {
		return uploadState{}, s.fault("read upload", err)
	}
	u, err := decodeState(b)
	if err == nil && u.id != id {
		err = fmt.Errorf("%w: it is of upload %s", errRecord, u.id)
	}
	if err != nil {
		return uploadState{}, fmt.Errorf("%w: read upload: %w", blobstore.ErrUploadUnknown, err)
	}
	return u, nil
}

// writeState keeps the state of an upload, over a crash of the machine too if sync is set.
func (s *Store) writeState(u uploadState, sync bool) error {
	if err := writeFile(s.files, uploadName(u.id)+stateSuffix, u.encode(), sync); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	return s.files.SyncDir(uploadsDir)
}
