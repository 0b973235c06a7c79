package blobstore

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// What a store answers instead of doing what it was asked. Ask with errors.Is.
var (
	ErrOffline           = errors.New("store is offline: its marker is not there")
	ErrClosed            = errors.New("store is closed")
	ErrNoSpace           = errors.New("no space left in the store")
	ErrUploadUnknown     = errors.New("upload is unknown")
	ErrUploadExists      = errors.New("upload exists")
	ErrUploadEnded       = errors.New("upload has ended")
	ErrUploadBusy        = errors.New("upload is being written by another call")
	ErrUploadBroken      = errors.New("upload is lost: the disk failed to keep it")
	ErrUploadFinished    = errors.New("upload is finished: it takes no more bytes")
	ErrUploadNotFinished = errors.New("upload is not finished")
	ErrOffset            = errors.New("upload is at another offset")
	ErrDigestMismatch    = errors.New("bytes do not match the digest")
	ErrDigestUnsupported = errors.New("digest is not supported")
	ErrTooFewCopies      = errors.New("too few copies")
	ErrCopyUnknown       = errors.New("copy is unknown")
	ErrCopyDamaged       = errors.New("copy is damaged")
	ErrUnreachable       = errors.New("no holder of the bytes could be reached")
	ErrRange             = errors.New("range lies outside of the blob")
)

// OffsetError says at which offset an upload is. It is ErrOffset.
type OffsetError struct {
	Offset int64
}

// Error is for people.
func (e *OffsetError) Error() string { return fmt.Sprintf("%v: %d", ErrOffset, e.Offset) }

// Is makes the error ErrOffset.
func (e *OffsetError) Is(target error) bool { return target == ErrOffset }

// MismatchError says what the bytes hash to. It is ErrDigestMismatch.
type MismatchError struct {
	Want, Have digest.Digest
}

// Error is for people.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%v %s, they have %s", ErrDigestMismatch, e.Want, e.Have)
}

// Is makes the error ErrDigestMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrDigestMismatch }

// WholeCopy is the Chunk of a DamageError that is about no chunk: size, sums or digest of the whole.
const WholeCopy = -1

// DamageError says which copy is not what was published. It is ErrCopyDamaged, and the error of the disk if
// that could not read it.
type DamageError struct {
	Copy  CopyID
	Chunk int64 // counted from 0, or WholeCopy
	Cause error
}

// Error is for people.
func (e *DamageError) Error() string {
	if e.Chunk == WholeCopy {
		return fmt.Sprintf("copy %s is damaged: %v", e.Copy, e.Cause)
	}
	return fmt.Sprintf("copy %s is damaged: chunk %d: %v", e.Copy, e.Chunk, e.Cause)
}

// Unwrap makes the error ErrCopyDamaged and its cause.
func (e *DamageError) Unwrap() []error { return []error{ErrCopyDamaged, e.Cause} }
