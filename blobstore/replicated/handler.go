package replicated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// A connection on which nothing moves for so long is given up, so that a node that vanished holds nothing
// here. A sender ends its stretch long before when it has nothing to send.
const (
	maxSilence = 30 * time.Second
	maxWait    = 2 * time.Minute // for a reader, who may have a slow client
)

// prefix is what all paths begin with. The name of a store follows, in which a slash is escaped.
const prefix = "/store/"

// Handler answers what other nodes ask of this one's stores: everything below /store/<name>/. Whoever reaches it must have
// proved to be a node of the cluster. What is not understood is refused with 400; errors are answered as JSON
// that the asking node turns into the same error.
//
// A store that this node does not have is offline, so that whoever asks goes elsewhere: nothing may be learnt of its
// copies (GC R13).
func Handler(stores ...*Store) http.Handler {
	byName := map[string]*Store{}
	for _, s := range stores {
		byName[s.name] = s
	}
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(s *Store, w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // that of an answer before on this connection
			name := r.PathValue("store")
			s := byName[name]
			if s == nil {
				writeError(w, fmt.Errorf("%w: this node has no store %q", blobstore.ErrOffline, name))
				return
			}
			s.contain(w, identified(r), serve) //nolint:contextcheck // its context is that of the request, with the id
		})
	}
	handle("GET /store/{store}/usage", answering((*Store).serveUsage))
	handle("GET /store/{store}/uploads/{id}", answering((*Store).serveUpload))
	handle("PATCH /store/{store}/uploads/{id}", answering((*Store).serveAppend))
	handle("PUT /store/{store}/uploads/{id}", answering((*Store).serveFinish))
	handle("POST /store/{store}/uploads/{id}", answering((*Store).servePublish))
	handle("DELETE /store/{store}/uploads/{id}", answering((*Store).serveRemove))
	handle("GET /store/{store}/blobs/{digest}", (*Store).serveBlob)
	handle("POST /store/{store}/fetch", (*Store).serveFetch)
	for _, other := range []string{"/store/{store}", "/store/{store}/"} {
		handle(other, answering(func(*Store, http.ResponseWriter, *http.Request) (any, error) { return nil, errNoSuchName }))
	}
	mux.HandleFunc(prefix, func(w http.ResponseWriter, _ *http.Request) { writeError(w, errNoSuchName) })
	return mux
}

var errNoSuchName = fmt.Errorf("%w: there is nothing of this name", errBadRequest)

// identified is a request with the id in its context of the client's that it is for, if it is for one.
func identified(r *http.Request) *http.Request {
	if id := r.Header.Get(headerRequestID); id != "" {
		return r.WithContext(blobstore.WithRequestID(r.Context(), id))
	}
	return r
}

// contain answers a request whose handler may panic: net/http would cut the connection, and the node that asked would
// take this one for dead. Of an answer that has begun the rest must not come.
func (s *Store) contain(w http.ResponseWriter, r *http.Request, serve func(s *Store, w http.ResponseWriter, r *http.Request)) {
	a := &answer{ResponseWriter: w}
	defer func() {
		p := recover()
		switch {
		case p == nil:
		case p == http.ErrAbortHandler: //nolint:errorlint // net/http compares it so, and nobody wraps it
			panic(p)
		case a.begun:
			blobstore.LogFor(r.Context(), s.log).Error("request of a node broke off", "method", r.Method, "path", r.URL.Path, "error", blobstore.Panicked(p))
			panic(http.ErrAbortHandler)
		default:
			s.refuse(a, r, blobstore.Panicked(p))
		}
	}()
	serve(s, a, r)
}

// answer is a ResponseWriter that knows whether it has begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader begins the answer.
func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

// Write begins the answer.
func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// answering writes what a function returns.
func answering(f func(*Store, http.ResponseWriter, *http.Request) (any, error)) func(*Store, http.ResponseWriter, *http.Request) {
	return func(s *Store, w http.ResponseWriter, r *http.Request) {
		v, err := f(s, w, r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // whoever asked is gone then
	}
}

func (s *Store) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if status := writeError(w, err); status == http.StatusInternalServerError {
		blobstore.LogFor(r.Context(), s.log).Error("request of a node failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}

// writeError answers with an error, and returns the status of the answer.
func writeError(w http.ResponseWriter, err error) int {
	f, status := describe(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f) // whoever asked is gone then
	return status
}

func (s *Store) serveUsage(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := parseQuery(r.URL.RawQuery).end(); err != nil {
		return nil, err
	}
	u, err := s.Usage(r.Context())
	return usageAnswer{Total: u.Total, Free: u.Free}, err
}

// uploadOf is the upload that a request without parameters is about.
func uploadOf(r *http.Request) (blobstore.UploadID, error) {
	q := parseQuery(r.URL.RawQuery)
	id := q.uploadID(r.PathValue("id"))
	return id, q.end()
}

func (s *Store) serveUpload(_ http.ResponseWriter, r *http.Request) (any, error) {
	id, err := uploadOf(r)
	if err != nil {
		return nil, err
	}
	u, err := s.Upload(r.Context(), id)
	return uploadAnswer{Offset: u.Offset, Active: u.Active, Writing: u.Writing, Finished: u.Finished}, err
}

// serveAppend takes a stretch of an upload that lies on another node, and verifies the whole if its trailer
// says that these were the last bytes.
//
// Nothing bounds here how many there are at once. Each node lets in so many clients that send bytes (512, api's
// MaxBodies), and sends what they bring to this one in one request each; such a request holds less than 128 KiB here:
// so this is 64 MiB for each other node at most. Whoever was turned away here would lose a copy, where a client that is
// turned away there only comes again.
func (s *Store) serveAppend(w http.ResponseWriter, r *http.Request) (any, error) {
	q := parseQuery(r.URL.RawQuery)
	id, hint := q.uploadID(r.PathValue("id")), q.hint()
	offset, at := q.number("offset"), blobstore.Time(q.number("at"))
	if err := q.end(); err != nil {
		return nil, err
	}
	if offset == 0 {
		err := s.Local.CreateUpload(r.Context(), id, hint, at)
		if err != nil && !errors.Is(err, blobstore.ErrUploadExists) {
			return nil, err
		}
	}
	defer s.pace.Serve()()
	end, err := s.Local.Append(r.Context(), id, offset, newPatientBody(w, r), at)
	if err != nil {
		return nil, err
	}
	if d := r.Trailer.Get(digestTrailer); d != "" {
		end, err = s.finishHere(r.Context(), id, d)
	}
	return uploadAnswer{Offset: end}, err
}

// finishHere verifies an upload of this node's store for another node.
func (s *Store) finishHere(ctx context.Context, id blobstore.UploadID, want string) (int64, error) {
	q := &query{}
	d := q.digest(want)
	if err := q.end(); err != nil {
		return 0, err
	}
	return s.Local.Finish(ctx, id, d)
}

func (s *Store) serveFinish(_ http.ResponseWriter, r *http.Request) (any, error) {
	q := parseQuery(r.URL.RawQuery)
	id, d := q.uploadID(r.PathValue("id")), q.digest(q.text("digest"))
	if err := q.end(); err != nil {
		return nil, err
	}
	end, err := s.Local.Finish(r.Context(), id, d)
	return uploadAnswer{Offset: end}, err
}

func (s *Store) servePublish(_ http.ResponseWriter, r *http.Request) (any, error) {
	id, err := uploadOf(r)
	if err != nil {
		return nil, err
	}
	at, err := s.publishHere(r.Context(), id)
	return copyAnswer{Copy: at.Copy.String()}, err
}

// publishHere makes a copy in this node's store, and gives the upload up. Nobody else knows its id, so that
// nothing of it need be kept; what cannot be removed is swept.
func (s *Store) publishHere(ctx context.Context, id blobstore.UploadID) (blobstore.Location, error) {
	at, err := s.Local.Publish(ctx, id)
	if err != nil {
		return blobstore.Location{}, err
	}
	if len(at) != 1 {
		return blobstore.Location{}, fmt.Errorf("the store of one node made %d copies", len(at))
	}
	if err := s.Local.RemoveUpload(ctx, id); err != nil {
		blobstore.LogFor(ctx, s.log).Warn("upload of a stored copy is left behind", "upload", id.String(), "error", err)
	}
	return at[0], nil
}

func (s *Store) serveRemove(_ http.ResponseWriter, r *http.Request) (any, error) {
	id, err := uploadOf(r)
	if err != nil {
		return nil, err
	}
	return nothing{}, s.Local.RemoveUpload(r.Context(), id)
}

// serveBlob sends a piece of a copy. Its first chunk is checked before the answer begins, so that a damaged
// one is an error like any other; what is found later stands in the trailer.
func (s *Store) serveBlob(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r.URL.RawQuery)
	b := blobstore.Blob{Digest: q.digest(r.PathValue("digest")), Size: q.number("size")}
	b.Locations = []blobstore.Location{{Incarnation: s.Incarnation(), Copy: q.copyID("copy", q.text("copy"))}}
	offset, length, repair := q.number("offset"), q.number("length"), q.repair()
	if err := q.end(); err != nil {
		s.refuse(w, r, err)
		return
	}
	if !repair {
		defer s.pace.Serve()()
	}
	stream, err := s.Local.Open(r.Context(), b, offset, length)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer func() { _ = stream.Close() }() // it was only read
	buf := s.takeChunk()
	defer s.chunks.Put(buf)
	n, err := stream.Read(*buf)
	if n == 0 && err != nil && err != io.EOF { //nolint:errorlint // a wrapped one is no regular end
		s.refuse(w, r, err)
		return
	}
	var rest io.Reader = stream
	if repair {
		rest = s.paced(r.Context(), stream)
	}
	w.Header().Set("Trailer", errorTrailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := sendRest(w, rest, *buf, n, err); err != nil {
		f, _ := describe(err)
		w.Header().Set(errorTrailer, f.encode())
	}
}

// sendRest writes the n bytes that are in buf, then the rest of a stream. It returns the stream's error: that
// of the connection the other end sees for itself.
func sendRest(w http.ResponseWriter, stream io.Reader, buf []byte, n int, err error) error {
	deadline := http.NewResponseController(w)
	defer func() { _ = deadline.SetWriteDeadline(time.Time{}) }() // the next answer on this connection is no slower for it
	for {
		_ = deadline.SetWriteDeadline(time.Now().Add(maxWait)) // some connections of tests have none
		if _, werr := w.Write(buf[:n]); werr != nil {
			return nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, err = stream.Read(buf)
	}
}

func (s *Store) takeChunk() *[]byte { return s.chunks.Get().(*[]byte) }

// patientBody is the body of a request, with a limit on how long the other end may say nothing.
type patientBody struct {
	body    io.Reader
	control *http.ResponseController
}

func newPatientBody(w http.ResponseWriter, r *http.Request) patientBody {
	return patientBody{r.Body, http.NewResponseController(w)}
}

// Read reads. After the end there is no limit: it would end the request while the bytes are made durable.
func (b patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(maxSilence)) // some connections of tests have none
	n, err := b.body.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
