package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
)

// What a store may answer is nobody's fault, or the client's: it is in the table.
func TestErrorsOfStoresHaveAMeaning(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		blobstore.ErrOffline, blobstore.ErrClosed, blobstore.ErrNoSpace, blobstore.ErrUploadUnknown, blobstore.ErrUploadEnded,
		blobstore.ErrUploadBusy, blobstore.ErrUploadBroken, blobstore.ErrUploadFinished, blobstore.ErrUploadNotFinished,
		blobstore.ErrDigestMismatch, blobstore.ErrDigestUnsupported, blobstore.ErrTooFewCopies, blobstore.ErrCopyUnknown,
		&blobstore.DamageError{}, blobstore.ErrUnreachable, blobstore.ErrRange,
	} {
		if m := meaningOf(fmt.Errorf("store: %w", err)); m.status == http.StatusInternalServerError {
			t.Errorf("%v is an internal error", err)
		}
	}
}

// A panic that was contained on the way is this node's fault, also where it made something impossible.
func TestPanicIsInternal(t *testing.T) {
	t.Parallel()
	err := unavailable(fmt.Errorf("find upload: %w: %w", blobstore.Panicked("secret detail"), blobstore.ErrUploadUnknown))
	if m := meaningOf(err); m.status != http.StatusInternalServerError || m.code != codeUnknown {
		t.Errorf("%+v", m)
	}
}
