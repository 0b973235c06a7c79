package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// The specification's codes, and two that Docker's clients know beside them.
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeBlobUploadInvalid   = "BLOB_UPLOAD_INVALID"
	codeBlobUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     = "MANIFEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameInvalid         = "NAME_INVALID"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeSizeInvalid         = "SIZE_INVALID"
	codeDenied              = "DENIED"
	codeUnauthorized        = "UNAUTHORIZED"
	codeUnsupported         = "UNSUPPORTED"
	codeTooManyRequests     = "TOOMANYREQUESTS"
	codeUnavailable         = "UNAVAILABLE"
	codeUnknown             = "UNKNOWN"
)

// What this package itself finds wrong with a request.
var (
	errUnavailable     = errors.New("not possible at the moment, try again")
	errUntold          = errors.New("it cannot be told at the moment who asks, try again")
	errOwnerSilent     = errors.New("the node which holds this upload does not answer: try again, or start this blob again")
	errBusy            = errors.New("this node is at work on as many requests as it may, try again")
	errBlobDamaged     = errors.New("blob is damaged: of the copies that could be read none is good; push it again to heal it")
	errStaleNotFound   = errors.New("not found here, but this node cannot tell whether that is the newest state")
	errNothing         = errors.New("nothing is listed here")
	errNoRoute         = errors.New("no such endpoint")
	errMethod          = errors.New("method is not allowed here")
	errBlobUnknown     = errors.New("blob is not in this repository")
	errUploadID        = errors.New("upload is unknown")
	errContentRange    = errors.New("invalid Content-Range")
	errOffset          = errors.New("upload is at another offset")
	errLength          = errors.New("body has another length than was announced")
	errBody            = errors.New("body broke off")
	errManifestDigest  = errors.New("manifest has another digest")
	errManifestHeader  = errors.New("invalid condition")
	errCondition       = errors.New("condition does not hold")
	errQuery           = errors.New("invalid query")
	errTooManyTags     = errors.New("too many tags at once")
	errPage            = errors.New("invalid page")
	errRange           = errors.New("invalid range")
	errRangeOutside    = errors.New("range lies outside of the blob")
	errManifestMissing = errors.New("manifest is not in this repository")

	errAnswered = errors.New("another node has answered") // nothing is wrong, and nothing is left to do
)

// meaning is what an error means to a client.
type meaning struct {
	err    error
	status int
	code   string
}

// meanings is the one table of errors; the first line that an error is, holds. What is in none is a fault
// of ours.
func meanings() []meaning {
	return []meaning{
		{blobstore.ErrPanic, http.StatusInternalServerError, codeUnknown}, // a fault of ours, whatever else it is

		{auth.ErrCredentials, http.StatusUnauthorized, codeUnauthorized},
		{auth.ErrDenied, http.StatusForbidden, codeDenied},
		{auth.ErrElsewhere, http.StatusForbidden, codeDenied},
		{auth.ErrTooMany, http.StatusTooManyRequests, codeTooManyRequests},

		// Not now. These come first: what else the error is was not decided.
		{errUnavailable, http.StatusServiceUnavailable, codeUnavailable},
		{errUntold, http.StatusServiceUnavailable, codeUnavailable},
		{errStaleNotFound, http.StatusServiceUnavailable, codeUnavailable},
		{errOwnerSilent, http.StatusServiceUnavailable, codeUnavailable},
		{errBusy, http.StatusTooManyRequests, codeTooManyRequests},
		{fsm.ErrOutcomeUnknown, http.StatusServiceUnavailable, codeUnavailable},
		{fsm.ErrRestoring, http.StatusServiceUnavailable, codeUnavailable},
		{fsm.ErrStampTooOld, http.StatusServiceUnavailable, codeUnavailable},
		{fsm.ErrTooFewCopies, http.StatusServiceUnavailable, codeUnavailable},
		{blobstore.ErrTooFewCopies, http.StatusServiceUnavailable, codeUnavailable},
		{blobstore.ErrUnreachable, http.StatusServiceUnavailable, codeUnavailable},
		{blobstore.ErrCopyUnknown, http.StatusServiceUnavailable, codeUnavailable}, // it has a record: this is no 404
		{blobstore.ErrCopyDamaged, http.StatusServiceUnavailable, codeUnavailable}, // a push heals it, or a holder that is away has a good one
		{blobstore.ErrOffline, http.StatusServiceUnavailable, codeUnavailable},
		{blobstore.ErrNoSpace, http.StatusInsufficientStorage, codeUnavailable},
		{blobstore.ErrUploadBusy, http.StatusServiceUnavailable, codeUnavailable},
		{blobstore.ErrUploadNotFinished, http.StatusServiceUnavailable, codeUnavailable}, // forgotten twice: the PUT may be repeated
		{blobstore.ErrClosed, http.StatusServiceUnavailable, codeUnavailable},
		{fsm.ErrClosed, http.StatusServiceUnavailable, codeUnavailable},
		{fsm.ErrDamaged, http.StatusServiceUnavailable, codeUnavailable}, // the node is fenced; others are whole

		{context.DeadlineExceeded, http.StatusServiceUnavailable, codeUnavailable},
		// The client has gone, or was cut off because it sent nothing: few will read this.
		{context.Canceled, http.StatusBadRequest, codeSizeInvalid},

		// The request. What is missing comes before why it can only be missing.
		{errNoRoute, http.StatusNotFound, codeUnsupported},
		{errMethod, http.StatusMethodNotAllowed, codeUnsupported},
		{errQuery, http.StatusBadRequest, codeUnsupported},
		{errPage, http.StatusBadRequest, codeUnsupported},
		{errBody, http.StatusBadRequest, codeSizeInvalid},
		{errLength, http.StatusBadRequest, codeSizeInvalid},
		{errManifestMissing, http.StatusNotFound, codeManifestUnknown},
		{errNothing, http.StatusNotFound, codeManifestUnknown}, // of a list that may be old; else it is an answer
		{oci.ErrNameInvalid, http.StatusBadRequest, codeNameInvalid},
		{oci.ErrTagInvalid, http.StatusBadRequest, codeManifestInvalid},
		{oci.ErrDigestInvalid, http.StatusBadRequest, codeDigestInvalid},

		// Uploads and blobs.
		{errUploadID, http.StatusNotFound, codeBlobUploadUnknown},
		{errContentRange, http.StatusBadRequest, codeBlobUploadInvalid},
		{errOffset, http.StatusRequestedRangeNotSatisfiable, codeBlobUploadInvalid},
		{errRange, http.StatusRequestedRangeNotSatisfiable, codeSizeInvalid},
		{errRangeOutside, http.StatusRequestedRangeNotSatisfiable, codeSizeInvalid},
		{blobstore.ErrRange, http.StatusRequestedRangeNotSatisfiable, codeSizeInvalid},
		{errBlobUnknown, http.StatusNotFound, codeBlobUnknown},
		{blobstore.ErrUploadUnknown, http.StatusNotFound, codeBlobUploadUnknown},
		{blobstore.ErrUploadEnded, http.StatusNotFound, codeBlobUploadUnknown},
		{blobstore.ErrUploadBroken, http.StatusNotFound, codeBlobUploadUnknown},
		{blobstore.ErrUploadFinished, http.StatusRequestedRangeNotSatisfiable, codeBlobUploadInvalid},
		{blobstore.ErrDigestMismatch, http.StatusBadRequest, codeDigestInvalid},
		{blobstore.ErrDigestUnsupported, http.StatusBadRequest, codeDigestInvalid},
		{fsm.ErrBlobUnknown, http.StatusNotFound, codeBlobUnknown},
		{fsm.ErrBlobDamaged, http.StatusNotFound, codeBlobUnknown},
		{fsm.ErrBlobReferenced, http.StatusMethodNotAllowed, codeUnsupported},

		// What the registry may have, and whether it may change.
		{fsm.ErrReadOnly, http.StatusMethodNotAllowed, codeUnsupported},
		{fsm.ErrQuotaExceeded, http.StatusForbidden, codeDenied},
		{fsm.ErrTooManyRepositories, http.StatusTooManyRequests, codeTooManyRequests},

		// Manifests and tags.
		{errManifestDigest, http.StatusBadRequest, codeDigestInvalid},
		{errManifestHeader, http.StatusBadRequest, codeUnsupported},
		{errCondition, http.StatusPreconditionFailed, codeDenied},
		{errTooManyTags, http.StatusRequestURITooLong, codeManifestInvalid},
		{oci.ErrManifestTooLarge, http.StatusRequestEntityTooLarge, codeManifestInvalid},
		{oci.ErrTooManyReferences, http.StatusRequestEntityTooLarge, codeManifestInvalid},
		{oci.ErrMediaTypeUnsupported, http.StatusBadRequest, codeManifestInvalid},
		{oci.ErrManifestInvalid, http.StatusBadRequest, codeManifestInvalid},
		{fsm.ErrManifestBlobUnknown, http.StatusNotFound, codeManifestBlobUnknown},
		{fsm.ErrManifestUnknown, http.StatusNotFound, codeManifestUnknown},
		{fsm.ErrTagUnknown, http.StatusNotFound, codeManifestUnknown},
		{fsm.ErrRepositoryUnknown, http.StatusNotFound, codeNameUnknown},
		{fsm.ErrTagCondition, http.StatusPreconditionFailed, codeDenied},
		{fsm.ErrManifestReferenced, http.StatusMethodNotAllowed, codeUnsupported},
		{fsm.ErrManyTags, http.StatusConflict, codeManifestInvalid}, // as zot answers
		{fsm.ErrTooManyTags, http.StatusMethodNotAllowed, codeUnsupported},
	}
}

// meaningOf returns what err means to a client.
func meaningOf(err error) meaning {
	if m, is := refusalOf(err); is {
		return m
	}
	for _, m := range meanings() {
		if errors.Is(err, m.err) {
			return m
		}
	}
	return meaning{err: err, status: http.StatusInternalServerError, code: codeUnknown}
}

// fail answers a request that ended with err. After the first byte of an answer there is only one way to
// say that the rest will not come: the connection breaks.
func (g *Registry) fail(w *answer, r *http.Request, err error) {
	m := meaningOf(err)
	if m.status == http.StatusNotFound && w.isStale() && !g.config.LocalReads {
		// What was not found may have been pushed since: only what was found can be told from old state.
		m = meaningOf(errStaleNotFound)
		err = errStaleNotFound
	}
	log := g.log.With("request_id", w.requestID, "method", r.Method, "path", r.URL.Path, "error", err)
	switch {
	case m.status == http.StatusInternalServerError:
		log.Error("request failed")
		err = fmt.Errorf("internal error, request %s", w.requestID)
	case errors.Is(err, blobstore.ErrCopyDamaged):
		log.Error("blob is damaged")
		err = errBlobDamaged
	case errors.Is(err, errUntold): // why not is nothing for somebody of whom nothing is known
		log.Debug("request refused", "status", m.status)
		err = errUntold
	default:
		log.Debug("request refused", "status", m.status)
	}
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	g.challenge(w, r, m.status)
	retryAfter := g.config.RetryAfter.Seconds()
	if wait, ok := errors.AsType[*auth.TooMany](err); ok {
		retryAfter = float64(wait.Seconds())
	}
	w.refuse(m, err, retryAfter)
}

// errorBody is the body of an answer that is an error. The id leads from what a user shows to the lines of the logs.
func errorBody(code, message, requestID string) []byte {
	type info struct { // the specification's module has a text for a detail, where the specification has any JSON
		Code    string            `json:"code"`
		Message string            `json:"message"`
		Detail  map[string]string `json:"detail"`
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)                                                                                  // people read it: "&" is no "\u0026" to them
	_ = e.Encode(map[string][]info{"errors": {{code, message, map[string]string{"requestId": requestID}}}}) // strings alone
	return bytes.TrimSuffix(body.Bytes(), []byte("\n"))
}

// refuse answers with an error.
func (w *answer) refuse(m meaning, err error, retryAfter float64) {
	body := errorBody(m.code, err.Error(), w.requestID)
	h := w.Header()
	for _, name := range []string{"ETag", "Accept-Ranges", "Docker-Content-Digest"} {
		h.Del(name) // what the answer that did not come about would have said
	}
	if m.status != http.StatusNotFound {
		h.Del(headerConsistency) // nothing was found that could be old
	}
	if m.status != http.StatusRequestedRangeNotSatisfiable {
		h.Del("Content-Range")
	}
	switch {
	case errors.Is(m.err, fsm.ErrTooManyRepositories): // a second later there are as many
	case m.status == http.StatusServiceUnavailable, m.status == http.StatusTooManyRequests, m.status == http.StatusInsufficientStorage:
		h.Set("Retry-After", strconv.Itoa(max(1, int(retryAfter))))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(m.status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}
