package replicated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// peers asks other nodes' handlers. Each method is one request.
type peers struct {
	store  string // the name of the one that they are asked of
	client *http.Client
}

func newPeers(store string, t http.RoundTripper) *peers {
	return &peers{store, &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// What is answered.
type (
	usageAnswer struct {
		Total int64 `json:"total"`
		Free  int64 `json:"free"`
	}
	uploadAnswer struct {
		Offset   int64          `json:"offset"`
		Active   blobstore.Time `json:"active"`
		Writing  bool           `json:"writing"`
		Finished bool           `json:"finished"`
	}
	copyAnswer struct {
		Copy string `json:"copy"`
	}
	nothing struct{}
)

// unreachableError is one of a node that did not answer.
type unreachableError struct{ cause error }

// Error is for people.
func (e *unreachableError) Error() string { return "node does not answer: " + e.cause.Error() }

// Unwrap is why.
func (e *unreachableError) Unwrap() error { return e.cause }

func isUnreachable(err error) bool {
	_, ok := errors.AsType[*unreachableError](err)
	return ok
}

// headerRequestID tells another node for which request of a client it is asked.
const headerRequestID = "X-Request-Id"

// send sends a request to a node, whose path goes on behind the name of the store. The error is an *unreachableError if it is not answered.
func (p *peers) send(ctx context.Context, to blobstore.Incarnation, method, path string, query url.Values, body io.Reader, trailer http.Header) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: to.String(), Path: prefix + p.store + path, RawPath: prefix + url.PathEscape(p.store) + path, RawQuery: query.Encode()}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if id := blobstore.RequestID(ctx); id != "" {
		r.Header.Set(headerRequestID, id)
	}
	if body != nil {
		r.ContentLength = -1
		r.Trailer = trailer
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, &unreachableError{err}
	}
	return answer, nil
}

// call sends a request and decodes its answer.
func (p *peers) call(ctx context.Context, to blobstore.Incarnation, method, path string, query url.Values, v any) error {
	r, err := p.send(ctx, to, method, path, query, nil, nil) //nolint:bodyclose // decodeAnswer closes it
	if err != nil {
		return err
	}
	return decodeAnswer(r, v)
}

func uploadPath(id blobstore.UploadID) string { return "/uploads/" + id.String() }

// usage asks how full a node's store is.
func (p *peers) usage(ctx context.Context, to blobstore.Incarnation) (blobstore.Usage, error) {
	var a usageAnswer
	err := p.call(ctx, to, http.MethodGet, "/usage", nil, &a)
	return blobstore.Usage{Total: a.Total, Free: a.Free}, err
}

// upload asks how an upload of a node is. It fails with blobstore.ErrUploadUnknown or ErrUploadEnded.
func (p *peers) upload(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) (blobstore.Upload, error) {
	var a uploadAnswer
	err := p.call(ctx, to, http.MethodGet, uploadPath(id), nil, &a)
	return blobstore.Upload{ID: id, Offset: a.Offset, Active: a.Active, Writing: a.Writing, Finished: a.Finished}, err
}

// stretch is a piece of an upload on its way to a peer. Its trailer may be filled in until the body ends.
type stretch struct {
	id      blobstore.UploadID
	offset  int64 // at 0 the upload is made
	hint    digest.Algorithm
	at      blobstore.Time
	body    io.Reader
	trailer http.Header
}

// append brings bytes to a node, and finishes the upload if the trailer says a digest. It returns how long
// the upload is. It fails as Append and Finish do.
func (p *peers) append(ctx context.Context, to blobstore.Incarnation, s stretch) (int64, error) {
	q := url.Values{"offset": {number(s.offset)}, "at": {number(int64(s.at))}}
	if s.hint != "" {
		q.Set("hint", string(s.hint))
	}
	r, err := p.send(ctx, to, http.MethodPatch, uploadPath(s.id), q, s.body, s.trailer) //nolint:bodyclose // decodeAnswer closes it
	if err != nil {
		return 0, err
	}
	var a uploadAnswer
	err = decodeAnswer(r, &a)
	return a.Offset, err
}

// finish finishes an upload whose bytes are all there. It fails as Finish does.
func (p *peers) finish(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID, d digest.Digest) (int64, error) {
	var a uploadAnswer
	err := p.call(ctx, to, http.MethodPut, uploadPath(id), url.Values{"digest": {d.String()}}, &a)
	return a.Offset, err
}

// publish makes a copy of a finished upload, and removes the upload. It fails as Publish does.
func (p *peers) publish(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) (blobstore.Location, error) {
	var a copyAnswer
	if err := p.call(ctx, to, http.MethodPost, uploadPath(id), nil, &a); err != nil {
		return blobstore.Location{}, err
	}
	c, err := blobstore.ParseCopyID(a.Copy)
	return blobstore.Location{Incarnation: to, Copy: c}, err
}

// remove leaves nothing of an upload.
func (p *peers) remove(ctx context.Context, to blobstore.Incarnation, id blobstore.UploadID) error {
	return p.call(ctx, to, http.MethodDelete, uploadPath(id), nil, &nothing{})
}

// part is a piece of a copy.
type part struct {
	blob           blobstore.Blob
	offset, length int64
	repair         bool // it is for no client: the holder reads it at its own pace
}

// open begins to read a piece of a copy. What the body gives was checked by the holder; its end is one only
// if all of the piece has come, else the answer's trailer says why.
func (p *peers) open(ctx context.Context, at blobstore.Location, piece part) (*http.Response, error) {
	q := url.Values{
		"size": {number(piece.blob.Size)}, "copy": {at.Copy.String()},
		"offset": {number(piece.offset)}, "length": {number(piece.length)},
	}
	if piece.repair {
		q.Set("for", forRepair)
	}
	r, err := p.send(ctx, at.Incarnation, http.MethodGet, "/blobs/"+piece.blob.Digest.String(), q, nil, nil)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, decodeAnswer(r, &nothing{})
	}
	return r, nil
}

// fetching is a line of what a node answers that fetches a blob: that it is at work, and at last how it went.
type fetching struct {
	Upload string   `json:"upload,omitempty"`
	Error  *failure `json:"error,omitempty"`
}

var errSilent = errors.New("node has fallen silent")

// fetch has a node bring a blob into an upload of its own and finish it. The node has to show that it is at
// work once in every silence.
func (p *peers) fetch(ctx context.Context, to blobstore.Incarnation, b blobstore.Blob, silence time.Duration) (blobstore.UploadID, error) {
	q := url.Values{"digest": {b.Digest.String()}, "size": {number(b.Size)}}
	for _, l := range b.Locations {
		q.Add("from", l.Incarnation.String()+"."+l.Copy.String())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watch.Stop()
	r, err := p.send(ctx, to, http.MethodPost, "/fetch", q, nil, nil)
	if err != nil {
		return blobstore.UploadID{}, err
	}
	if r.StatusCode != http.StatusOK {
		return blobstore.UploadID{}, decodeAnswer(r, &nothing{})
	}
	defer func() { _ = r.Body.Close() }() // it was only read
	for lines := json.NewDecoder(r.Body); ; watch.Reset(silence) {
		var line fetching
		if err := lines.Decode(&line); err != nil {
			return blobstore.UploadID{}, &unreachableError{fmt.Errorf("answer breaks off: %w", err)}
		}
		if line.Error != nil {
			return blobstore.UploadID{}, line.Error.error()
		}
		if line.Upload != "" {
			return blobstore.ParseUploadID(line.Upload)
		}
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
