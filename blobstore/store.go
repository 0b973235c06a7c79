// Package blobstore keeps bytes by digest, and uploads that are not finished. It is the contract of a
// family: blobstore/disk, blobstore/memory, and stores that spread copies over nodes or keep them in a
// bucket. It knows no Raft, no repository and no leases: which copies exist for the cluster stands in the
// replicated state, and a store only does what GC.md lets a node do to a file.
//
// A blob's bytes lie in copies. A copy has a random id, drawn by the store that writes it, and is never
// changed; the same digest written again is another copy with another id, so that the removal of a copy
// may come late without taking newer bytes away.
//
// The way in: CreateUpload, Append as bytes arrive, Finish (digest verified, bytes durable, nothing
// visible yet), then Publish (the copies exist, and their locations may be proposed). Between Finish and
// Publish the caller takes the stamp (GC R10). The way out: Open, whose every byte was checked before it
// is handed on. What jobs do: Copies, RemoveCopies, Verify.
//
// Invariants kept here: 1 (what Publish returns is durable and was verified by this very upload), 11
// (bytes served hash to their digest, or the stream ends with an error). Every implementation passes
// blobstore/storetest. Start reading at Store.
package blobstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/opencontainers/go-digest"
)

// ChunkSize is how many bytes of a copy are checked at once; all chunks but the last have it.
const ChunkSize = 256 << 10

// CopyID names one copy for ever; it is in the file's name, or in the key in the bucket.
type CopyID [16]byte

// NewCopyID draws a copy id.
func NewCopyID() CopyID {
	var c CopyID
	_, _ = rand.Read(c[:]) // never fails: it ends the process instead
	return c
}

// ParseCopyID reads what String wrote; anything else is an error.
func ParseCopyID(s string) (CopyID, error) {
	id, err := parseID(s)
	if err != nil {
		return CopyID{}, fmt.Errorf("copy id: %w", err)
	}
	return id, nil
}

// String is 32 hexadecimal digits, lower case.
func (c CopyID) String() string { return hex.EncodeToString(c[:]) }

// UploadID names an upload. The caller draws it (the nonce of the signed id that clients see), so that the
// node which gets the first bytes can make the upload without asking anyone.
type UploadID [16]byte

// ParseUploadID reads what String wrote; anything else is an error.
func ParseUploadID(s string) (UploadID, error) {
	id, err := parseID(s)
	if err != nil {
		return UploadID{}, fmt.Errorf("upload id: %w", err)
	}
	return id, nil
}

// String is 32 hexadecimal digits, lower case.
func (u UploadID) String() string { return hex.EncodeToString(u[:]) }

// Incarnation says which life of which node a store belongs to. It is zero for a bucket.
type Incarnation [16]byte

// String is 32 hexadecimal digits, lower case.
func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// Time is a state time. A store keeps it and hands it back; it has no clock of its own.
type Time int64

// Location is where a copy lies.
type Location struct {
	Incarnation Incarnation
	Copy        CopyID
}

// Blob is what the replicated state knows of a blob: enough to find its bytes and to check them.
type Blob struct {
	Digest    digest.Digest
	Size      int64
	Locations []Location // at most one an incarnation
}

// End returns the offset after the last of length bytes from offset on; a negative length stands for the
// rest. It returns ErrRange if the blob has no such bytes.
func (b Blob) End(offset, length int64) (int64, error) {
	if length < 0 {
		length = b.Size - offset
	}
	if offset < 0 || length < 0 || offset > b.Size || length > b.Size-offset {
		return 0, fmt.Errorf("%w: %d bytes at %d of %d", ErrRange, length, offset, b.Size)
	}
	return offset + length, nil
}

// Upload is an unfinished blob.
type Upload struct {
	ID     UploadID
	Offset int64 // how many bytes are there: the only offset at which more are taken
	Active Time  // the newest time that a call for this upload was given; zero if a power cut took it

	Writing  bool // a call is at work on it now, however long ago Active is
	Finished bool // a Finish succeeded: no more bytes are taken
	Ended    bool // only the id is kept, so that nobody takes it for a new upload
}

// Usage is how full the disk below a store is, in bytes. Free is what the store may still write.
type Usage struct {
	Total, Free int64
}

// FullFrom is the share of its disk, in percent, from which on a store takes no uploads (DESIGN 9): what is
// left is for the log and the state of its node.
const FullFrom = 85

// Full reports whether a store takes no uploads for now. One that nothing is known of is not full.
func (u Usage) Full() bool { return u.Total > 0 && u.Free <= u.Total/100*(100-FullFrom) }

// Percent is the share of the disk that is in use.
func (u Usage) Percent() int { return int(100 - 100*float64(u.Free)/float64(max(u.Total, 1))) }

// Reader is a stream of checked bytes of one blob: what Read returns, and what WriteTo hands on, was
// compared with its sum or digest before. An error after the first byte means that the rest is not to be
// had here: whoever sends the bytes on must break off visibly.
//
// WriteTo writes the checked bytes from the memory in which they were checked, a large piece at a time.
type Reader interface {
	io.ReadCloser
	io.WriterTo
}

// UploadReader reads what is there of an unfinished upload, at any offset below that which Upload says, also
// while more is written and after the upload was given up. What lies at higher offsets is not to be relied
// on. Nothing of it is checked: only a Finish says that the bytes are what they should be.
type UploadReader interface {
	io.ReaderAt
	io.Closer
}

// CopyInfo is what the file system, or the bucket, says of a copy.
type CopyInfo struct {
	Size int64
	// Written is when its last byte was, by the clock of the machine. It is for people: nothing is removed for
	// it (GC T1).
	Written time.Time
}

// Pace is asked for leave to read the next n bytes; it waits, or returns the error that ends the work.
type Pace func(ctx context.Context, n int) error

// Store is a set of copies and uploads. All methods may be called concurrently, also for one upload: of
// two that would write to it, the later gets ErrUploadBusy.
//
// Any method may return ErrOffline (the store's marker is not there: nothing was learnt or done), ErrClosed,
// the context's error, or an error of the operating system or network; beside those, what each says.
type Store interface {
	// CreateUpload makes an empty upload. The hint is the algorithm that the client announced, so that its
	// digest is computed as bytes arrive; "" stands for sha256. Another one in Finish costs a second reading.
	//   - ErrUploadExists if the upload is there
	//   - ErrUploadEnded if EndUpload was called for the id
	//   - ErrDigestUnsupported if the hint is neither sha256 nor sha512
	//   - ErrNoSpace
	CreateUpload(ctx context.Context, id UploadID, hint digest.Algorithm, at Time) error

	// Upload says how an upload is. While bytes arrive, the offset is that of the moment.
	//   - ErrUploadUnknown
	//   - ErrUploadEnded if EndUpload was called for the id
	Upload(ctx context.Context, id UploadID) (Upload, error)

	// Append takes bytes from r until it ends, and returns the offset after the last byte taken, which is
	// true also beside an error: r's own error comes back wrapped, what it had given before is kept, and
	// the upload goes on at the returned offset. A negative offset stands for the present end. The context
	// is looked at between reads; who wants to interrupt a read makes r return.
	//
	// What an Append that returned has taken survives a restart of the process, however that ended, if it is
	// 1 MiB or more; a smaller upload may be unknown then. Of what an interrupted one took, and in a power cut
	// of the whole, the last 128 MiB may be lost; what is left is checked before the upload goes on, which
	// reads it once (ErrOffset if it is shorter than Upload said).
	//   - *OffsetError (is ErrOffset) if the upload is not at offset; nothing is read
	//   - ErrUploadFinished after a Finish that succeeded: its bytes may be those of a copy by now. A PUT that is
	//     repeated leaves its body unread then, and goes on with Finish
	//   - ErrUploadUnknown, ErrUploadEnded (also when it ends meanwhile), ErrUploadBusy
	//   - ErrUploadBroken if the disk failed to keep earlier bytes: the upload is gone
	//   - ErrNoSpace: the upload is kept as it is, and goes on when there is room again
	Append(ctx context.Context, id UploadID, offset int64, r io.Reader, at Time) (int64, error)

	// Finish verifies that the bytes so far hash to d, makes them durable wherever Publish will make copies
	// of them, and returns their number. Nothing is visible yet, and the upload is kept: Finish may be
	// repeated, also with another digest, and after a restart; it then reads everything again. After a
	// mismatch the upload is as it was; after a success it takes no more bytes.
	//   - *MismatchError (is ErrDigestMismatch) if they do not
	//   - ErrDigestUnsupported if d's algorithm is neither sha256 nor sha512, or d is no digest
	//   - ErrUploadUnknown, ErrUploadEnded, ErrUploadBusy, ErrUploadBroken, ErrNoSpace
	//   - ErrTooFewCopies if a store of several nodes could not bring as many as it must to this point
	Finish(ctx context.Context, id UploadID, d digest.Digest) (int64, error)

	// Publish makes new copies, under fresh ids, of what Finish verified, durable when it returns. It uses
	// the Finish up: the next Publish needs another one, because nobody acknowledges bytes that it has not
	// itself just verified (GC R10), and makes copies under other ids, because a set of copy ids is
	// proposed once (GC R6). Copies that are published and then not recorded are left to the sweeper. The
	// upload is kept until EndUpload or RemoveUpload, which do not touch the copies; until then its bytes
	// take no second room on a disk.
	//   - ErrUploadNotFinished without a Finish that succeeded in this process and was not used up, or if it was
	//     forgotten among a thousand others: Finish once more
	//   - ErrUploadUnknown, ErrUploadEnded, ErrUploadBusy, ErrNoSpace
	//   - ErrTooFewCopies, beside the locations of those that were made
	Publish(ctx context.Context, id UploadID) ([]Location, error)

	// EndUpload gives an upload's bytes up and keeps its id taken: by a client's cancel, or after success.
	// It also takes an id that is unknown here. An Append under way ends with ErrUploadEnded.
	EndUpload(ctx context.Context, id UploadID, at Time) error

	// RemoveUpload leaves nothing of an upload, ended or not: for those that were silent too long. One
	// that is not there is no error.
	RemoveUpload(ctx context.Context, id UploadID) error

	// Uploads lists the uploads with ids greater than after, in their order, ended ones too. One that is
	// made or removed meanwhile may be in the list or not. An error ends the list.
	Uploads(ctx context.Context, after UploadID) iter.Seq2[Upload, error]

	// Open opens length bytes of a blob from offset on; a negative length stands for the rest. Of the
	// locations a store uses those that it can reach: a store on a disk its own incarnation's. The context
	// bounds the whole stream where the bytes come from elsewhere. What is wrong with the bytes is found
	// here for a blob of one chunk, and for others as they are read.
	//   - ErrCopyUnknown if none of the locations is here (read the record again, GC R14)
	//   - *DamageError (is ErrCopyDamaged) if the copy is not what was published
	//   - ErrUnreachable if a store of several nodes could ask no holder that has the copy
	//   - ErrRange if the blob has no such bytes
	Open(ctx context.Context, b Blob, offset, length int64) (Reader, error)

	// Copies lists the copies of this store itself with ids greater than after, in their order, remains of
	// unfinished ones too: all that RemoveCopies can remove. One that is made or removed meanwhile may be in
	// the list or not. An error ends the list.
	Copies(ctx context.Context, after CopyID) iter.Seq2[CopyID, error]

	// RemoveCopies removes copies of this store itself. It returns nil when all of them are gone, those too
	// that were gone before, from a store that has its marker (GC R12). Streams that are open go on.
	RemoveCopies(ctx context.Context, ids ...CopyID) error

	// Verify reads a whole copy of this store itself and compares it with the digest and size of the blob,
	// asking pace (nil is no limit) before each piece. Sums that are missing or wrong beside good bytes are
	// made anew; nil says that the copy is whole.
	//   - ErrCopyUnknown if none of the locations is here
	//   - *DamageError (is ErrCopyDamaged) if it is not what was published
	Verify(ctx context.Context, b Blob, pace Pace) error

	// Incarnation is that of the locations which this store itself makes.
	Incarnation() Incarnation

	// Check returns nil if the store is there: its marker is, and says what it should.
	Check(ctx context.Context) error

	// Usage says how full the store is.
	Usage(ctx context.Context) (Usage, error)

	// Close waits for nothing: calls under way may fail. Streams that are open go on.
	Close() error
}

// parseID reads 32 hexadecimal digits. Only lower case is taken: an id has one name.
func parseID(s string) (id [16]byte, err error) {
	if len(s) != hex.EncodedLen(len(id)) {
		return id, fmt.Errorf("%q is not 32 hexadecimal digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, fmt.Errorf("%q: %w", s, err)
	}
	if hex.EncodeToString(id[:]) != s {
		return id, fmt.Errorf("%q is not lower case", s)
	}
	return id, nil
}
