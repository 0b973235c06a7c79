package entrance_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/api/entrance"
)

// unread is a body that nobody reads, of a client that is cut off if it does not end.
type unread struct {
	*httptest.ResponseRecorder
	read    bool
	bounded bool
}

func (u *unread) Read([]byte) (int, error) { u.read = true; return 0, io.EOF }
func (*unread) Close() error               { return nil }

func (u *unread) SetReadDeadline(at time.Time) error {
	u.bounded = !at.IsZero()
	return nil
}

// Who has shown no certificate gets to the probes, by their very paths, and nowhere else.
func TestCertificates(t *testing.T) {
	t.Parallel()
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	judge := func(r *http.Request) error {
		if r.Header.Get("From") == "nobody" {
			return errors.New("a certificate is needed")
		}
		return nil
	}
	h := entrance.NewCertificates(judge, func(path string) bool { return path == "/livez" }, says("probe")).Around(says("next"))
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"} {
		for _, path := range []string{"/livez", "/livez?for=write", "/livez/", "//livez", "/livez/../v2/", "/livez%2f..", "/livez/..", "/LIVEZ", "/livez;", "/v2/", "/"} {
			want, body := http.StatusUnauthorized, ""
			if (method == "GET" || method == "HEAD") && (path == "/livez" || path == "/livez?for=write") {
				want, body = http.StatusOK, "probe"
			}
			if w := sent(t, h, method, path, "From: nobody"); w.Code != want || body != "" && w.Body.String() != body {
				t.Errorf("%s %s without a certificate: %d %s", method, path, w.Code, w.Body)
			}
			if w := sent(t, h, method, path); w.Code != http.StatusOK || w.Body.String() != "next" {
				t.Errorf("%s %s with one: %d %s", method, path, w.Code, w.Body)
			}
		}
	}

	u := &unread{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v2/", u)
	r.Header.Set("From", "nobody")
	h.ServeHTTP(u, r)
	if !strings.Contains(u.Body.String(), `{"errors":[{"code":"UNAUTHORIZED","message":"a certificate is needed",`) || u.Header().Get("Connection") != "close" {
		t.Errorf("%s, %v", u.Body, u.Header())
	}
	if u.read || !u.bounded {
		t.Errorf("of the body: read %t, bounded %t", u.read, u.bounded)
	}
}
