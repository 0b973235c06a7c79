package replicated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// Names on the wire.
const (
	digestTrailer = "Zot-Digest" // of a PATCH: the bytes end here, and should hash to this
	errorTrailer  = "Zot-Error"  // of a blob: why it ends before its end
)

// answerLimit is how many bytes are read of an answer in JSON.
const answerLimit = 64 << 10

// failure is how an error travels.
type failure struct {
	Code    string        `json:"code"`
	Message string        `json:"message"`
	Offset  int64         `json:"offset,omitempty"`
	Want    digest.Digest `json:"want,omitempty"`
	Have    digest.Digest `json:"have,omitempty"`
	Copy    string        `json:"copy,omitempty"`
	Chunk   int64         `json:"chunk,omitempty"`
}

// kind is one kind of error, what it is called on the wire, and its status.
type kind struct {
	err    error
	code   string
	status int
}

// badRequest is the code of what is no request at all.
const badRequest = "bad_request"

var errBadRequest = errors.New("request is not understood")

// kinds lists the errors that keep their meaning between two nodes. Of an error that is several of them the
// first counts: what an upload is comes before why.
func kinds() []kind {
	return []kind{
		{errBadRequest, badRequest, http.StatusBadRequest},
		{blobstore.ErrOffset, "offset", http.StatusConflict},
		{blobstore.ErrDigestMismatch, "digest_mismatch", http.StatusConflict},
		{blobstore.ErrCopyDamaged, "copy_damaged", http.StatusConflict},
		{blobstore.ErrOffline, "offline", http.StatusServiceUnavailable},
		{blobstore.ErrClosed, "closed", http.StatusServiceUnavailable},
		{blobstore.ErrNoSpace, "no_space", http.StatusInsufficientStorage},
		{blobstore.ErrUploadUnknown, "upload_unknown", http.StatusNotFound},
		{blobstore.ErrUploadEnded, "upload_ended", http.StatusNotFound},
		{blobstore.ErrUploadBroken, "upload_broken", http.StatusNotFound},
		{blobstore.ErrUploadBusy, "upload_busy", http.StatusConflict},
		{blobstore.ErrUploadFinished, "upload_finished", http.StatusConflict},
		{blobstore.ErrUploadNotFinished, "upload_not_finished", http.StatusConflict},
		{blobstore.ErrDigestUnsupported, "digest_unsupported", http.StatusBadRequest},
		{blobstore.ErrRange, "range", http.StatusBadRequest},
		{blobstore.ErrUnreachable, "unreachable", http.StatusServiceUnavailable},
		{blobstore.ErrCopyUnknown, "copy_unknown", http.StatusNotFound},
		{context.Canceled, "canceled", http.StatusServiceUnavailable},
		{context.DeadlineExceeded, "deadline", http.StatusServiceUnavailable},
	}
}

// describe returns how an error travels, and its status.
func describe(err error) (failure, int) {
	f, status := failure{Code: "internal", Message: err.Error()}, http.StatusInternalServerError
	if errors.Is(err, blobstore.ErrPanic) {
		f.Message = blobstore.ErrPanic.Error() // its stack is in this node's log
		return f, status
	}
	for _, k := range kinds() {
		if errors.Is(err, k.err) {
			f.Code, status = k.code, k.status
			break
		}
	}
	if e, ok := errors.AsType[*blobstore.OffsetError](err); ok {
		f.Offset = e.Offset
	}
	if e, ok := errors.AsType[*blobstore.MismatchError](err); ok {
		f.Want, f.Have = e.Want, e.Have
	}
	if e, ok := errors.AsType[*blobstore.DamageError](err); ok {
		f.Copy, f.Chunk = e.Copy.String(), e.Chunk
	}
	return f, status
}

// remoteError is what another node said. Only the sentinel counts: the rest is for people.
type remoteError struct {
	sentinel error // nil if the code is none that is known
	message  string
}

// Error is for people.
func (e *remoteError) Error() string { return "node answered: " + e.message }

// Unwrap makes the error what it was at the other node.
func (e *remoteError) Unwrap() error { return e.sentinel }

// error returns what a failure was at the other node.
func (f failure) error() error {
	e := &remoteError{message: f.Message}
	for _, k := range kinds() {
		if k.code == f.Code {
			e.sentinel = k.err
		}
	}
	switch f.Code {
	case "offset":
		e.sentinel = &blobstore.OffsetError{Offset: f.Offset}
	case "digest_mismatch":
		e.sentinel = &blobstore.MismatchError{Want: f.Want, Have: f.Have}
	case "copy_damaged":
		id, _ := blobstore.ParseCopyID(f.Copy) // zero names no copy
		e.sentinel = &blobstore.DamageError{Copy: id, Chunk: f.Chunk, Cause: errElsewhere}
	case "canceled", "deadline":
		e.sentinel = nil // its own context ended, not that of whoever asked
	}
	return e
}

var errElsewhere = errors.New("said another node")

// encode is a failure for a trailer.
func (f failure) encode() string {
	b, err := json.Marshal(f)
	if err != nil {
		return ""
	}
	return string(b)
}

// decodeFailure reads what encode wrote.
func decodeFailure(s string) error {
	var f failure
	if err := json.Unmarshal([]byte(s), &f); err != nil {
		return fmt.Errorf("node answered %.100q: %w", s, err)
	}
	return f.error()
}

// decodeAnswer reads the body of an answer into v, or the error that it holds, and closes it.
func decodeAnswer(r *http.Response, v any) error {
	defer func() { _ = r.Body.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(r.Body, answerLimit))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if r.StatusCode != http.StatusOK {
		return decodeFailure(string(b))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("node answered %.100q: %w", b, err)
	}
	return nil
}
