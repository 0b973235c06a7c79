package replicated_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/replicated"
)

const (
	storeName = "default"
	anID      = "00112233445566778899aabbccddeeff"
	anUpload  = "/store/default/uploads/" + anID
	otherText = "something else"
)

// handler is that of a node that is alone in the world.
func handler(t testing.TB) http.Handler {
	t.Helper()
	local := newMemory(t, blobstore.Incarnation{1})
	s, err := replicated.New(replicated.Config{Name: storeName, Local: local, Members: fixed{}, Transport: http.DefaultTransport})
	must(t, err)
	return replicated.Handler(s)
}

// fixed is a cluster of one.
type fixed struct{}

// Membership is nobody else.
func (fixed) Membership() (replicated.Membership, error) {
	return replicated.Membership{Counts: true, Replicas: 1, Need: 1}, nil
}

func TestRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	h := handler(t)
	d := digest.FromString("x").String()
	blob := "/store/default/blobs/" + d
	for _, c := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/store/default/usage", 200},
		{"GET", "/store/default/usage?a=1", 400},
		{"GET", "/store/default/nothing", 400},
		{"GET", "/store/default", 400},
		{"GET", "/store/other", 503},
		{"GET", "/store/", 400},
		{"GET", "/store/usage", 503},
		{"GET", "/store/other/usage", 503},
		{"GET", "/store/%2Fa%2Fb/usage", 503},
		{"GET", "/store/%64efault/usage", 200},
		{"PUT", "/store/default/usage", 400},
		{"GET", "/store/default/usage?%zz", 400},
		{"GET", anUpload, 404},
		{"GET", anUpload + "?x=", 400},
		{"GET", strings.ToUpper(anUpload[len("/store/default/uploads/"):]), 404},
		{"GET", "/store/default/uploads/" + strings.ToUpper(anID), 400},
		{"GET", "/store/default/uploads/" + anID[1:], 400},
		{"GET", "/store/default/uploads/%2e%2e%2fmarker", 400},
		{"PATCH", anUpload + "?offset=0&at=1", 200},
		{"PATCH", anUpload + "?offset=9&at=1", 409},
		{"PATCH", anUpload, 400},
		{"PATCH", anUpload + "?offset=0", 400},
		{"PATCH", anUpload + "?offset=-1&at=1", 400},
		{"PATCH", anUpload + "?offset=+0&at=1", 400},
		{"PATCH", anUpload + "?offset=00&at=1", 400},
		{"PATCH", anUpload + "?offset=0x0&at=1", 400},
		{"PATCH", anUpload + "?offset=9223372036854775808&at=1", 400},
		{"PATCH", anUpload + "?offset=0&offset=0&at=1", 400},
		{"PATCH", anUpload + "?offset=0&at=1&hint=md5", 400},
		{"PATCH", anUpload + "?offset=0&at=1&more=1", 400},
		{"PUT", anUpload, 400},
		{"PUT", anUpload + "?digest=sha256:12", 400},
		{"PUT", anUpload + "?digest=" + d, 409},
		{"POST", anUpload, 409},
		{"POST", anUpload + "?digest=" + d, 400},
		{"DELETE", anUpload + "?x=1", 400},
		{"DELETE", anUpload, 200},
		{"POST", anUpload, 404},
		{"GET", blob, 400},
		{"GET", blob + "?size=1&offset=0&length=1&copy=" + anID, 404},
		{"GET", blob + "?size=1&offset=0&length=2&copy=" + anID, 400},
		{"GET", blob + "?size=1&offset=0&length=-1&copy=" + anID, 400},
		{"GET", blob + "?size=1&offset=0&length=1&copy=" + anID + "0", 400},
		{"GET", blob + "0?size=1&offset=0&length=1&copy=" + anID, 400},
		{"GET", "/store/default/blobs/md5:9dd4e461268c8034f5c8564e155c67a6?size=1&offset=0&length=1&copy=" + anID, 400},
		{"POST", "/store/default/fetch", 400},
		{"POST", "/store/default/fetch?size=1&digest=" + d + "&from=" + anID, 400},
		{"POST", "/store/default/fetch?size=1&digest=" + d + "&from=" + anID + "." + anID + "." + anID, 400},
		{"POST", "/store/default/fetch?size=1&digest=" + d + strings.Repeat("&from="+anID+"."+anID, 65), 400},
		{"POST", "/store/default/fetch?size=1&digest=" + d + "&x=" + strings.Repeat("x", 9000), 400},
		{"POST", "/store/default/fetch?size=1&digest=" + d, 200}, // and says in its answer that nobody has it
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, "http://node"+"/"+strings.TrimPrefix(c.target, "/"), http.NoBody))
		if w.Code != c.want {
			t.Errorf("%s %.90s: %d %s, want %d", c.method, c.target, w.Code, w.Body, c.want)
		}
		if w.Code == http.StatusBadRequest && !strings.Contains(w.Body.String(), `"bad_request"`) && !strings.Contains(w.Body.String(), `"range"`) {
			t.Errorf("%s %.90s: %s", c.method, c.target, w.Body)
		}
	}
}

// late is a writer whose connection has a deadline of an answer before.
type late struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (l *late) SetWriteDeadline(at time.Time) error {
	l.deadline = at
	return nil
}

// The connections are those on which requests of clients are passed on too, whose answers leave a deadline.
func TestDeadlineOfAnAnswerBefore(t *testing.T) {
	t.Parallel()
	w := &late{httptest.NewRecorder(), time.Now()}
	handler(t).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://node/store/default/usage", http.NoBody))
	if w.Code != http.StatusOK || !w.deadline.IsZero() {
		t.Errorf("%d, deadline %s", w.Code, w.deadline)
	}
}

// What is wrong at one node is the same error at the node that asked.
func TestErrorsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&blobstore.OffsetError{Offset: 1 << 40},
		&blobstore.MismatchError{Want: digest.FromString("a"), Have: digest.FromString("b")},
		&blobstore.DamageError{Copy: blobstore.CopyID{7}, Chunk: 3, Cause: io.ErrUnexpectedEOF},
		&blobstore.DamageError{Copy: blobstore.CopyID{7}, Chunk: blobstore.WholeCopy, Cause: io.ErrUnexpectedEOF},
		blobstore.ErrOffline, blobstore.ErrClosed, blobstore.ErrNoSpace, blobstore.ErrUploadUnknown, blobstore.ErrUploadEnded,
		blobstore.ErrUploadBroken, blobstore.ErrUploadBusy, blobstore.ErrUploadFinished, blobstore.ErrUploadNotFinished,
		blobstore.ErrDigestUnsupported, blobstore.ErrRange, blobstore.ErrUnreachable, blobstore.ErrCopyUnknown,
	} {
		back := replicated.Travel(err)
		if same := replicated.Travel(back); same.Error() == "" || replicated.Code(back) != replicated.Code(err) {
			t.Errorf("%v came as %v", err, back)
		}
		if want := replicated.Fields(err); replicated.Fields(back) != want {
			t.Errorf("%v came as %v", err, back)
		}
	}
}

// FuzzRequests: whatever is asked, the handler answers, and keeps what it is asked for to its own names.
func FuzzRequests(f *testing.F) {
	d := digest.FromString("x").String()
	for _, target := range []string{
		"/store/default/usage", anUpload, anUpload + "?offset=0&at=1&hint=sha256", anUpload + "?digest=" + d,
		"/store/default/blobs/" + d + "?size=1&offset=0&length=1&copy=" + anID,
		"/store/default/fetch?size=1&digest=" + d + "&from=" + anID + "." + anID, "/store/default/../x", "/store/default/uploads/%00",
	} {
		for _, method := range []string{"GET", "PATCH", "PUT", "POST", "DELETE"} {
			f.Add(method, target, d, []byte("x"))
		}
	}
	f.Fuzz(func(t *testing.T, method, target, trailer string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(u.Path, "/store/default/") || strings.ContainsAny(method, " /") {
			return
		}
		r := (&http.Request{Method: method, URL: u, Host: "node", Body: io.NopCloser(bytes.NewReader(body)), Trailer: http.Header{}}).WithContext(t.Context())
		r.Trailer.Set("Zot-Digest", trailer)
		w := httptest.NewRecorder()
		handler(t).ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError && !strings.Contains(w.Body.String(), `"offline"`) { // another store

			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code != http.StatusOK && w.Code/100 != 3 {
			var answer struct{ Code, Message string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Code == "" {
				t.Errorf("%d %s: %v", w.Code, w.Body, err)
			}
		}
	})
}

// FuzzFailures: whatever a node says, it is some error.
func FuzzFailures(f *testing.F) {
	f.Add(`{"code":"offset","message":"m","offset":7}`)
	f.Add(`{"code":"copy_damaged","copy":"x","chunk":-1}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, s string) {
		if err := replicated.DecodeFailure(s); err == nil || err.Error() == "" {
			t.Errorf("%q is no error", s)
		}
	})
}

var _ replicated.Local = (*memory.Store)(nil)
