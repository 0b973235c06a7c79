package entrance_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/api/entrance"
)

// sent sends a request with header lines of "Name: value" to h.
func sent(t *testing.T, h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://zot.example"+path, http.NoBody)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// page says what a request comes with behind it.
func page(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "cookie "+r.Header.Get("Cookie"))
}

// Who may read what is answered, by zot's key http.allowOrigin.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const ours = "https://ui.example"
	for name, test := range map[string]struct {
		named       []string
		origin      string
		allowed     string // "": the page may not read the answer
		credentials bool
		cookie      bool // it comes with what the browser has
	}{
		"no page":                        {nil, "", "", false, true},
		"none is named":                  {nil, "https://evil.example", "*", false, false},
		"any":                            {[]string{"*"}, "https://evil.example", "*", false, false},
		"any, and one":                   {[]string{"*", ours}, ours, ours, true, true},
		"any, and one, another":          {[]string{"*", ours}, "https://evil.example", "*", false, false},
		"the second":                     {[]string{"https://a.example", ours}, ours, ours, true, true},
		"in another case":                {[]string{ours}, "HTTPS://UI.example", "HTTPS://UI.example", true, true},
		"another":                        {[]string{ours}, "https://evil.example", "", false, false},
		"one that begins so":             {[]string{ours}, "https://ui.example.evil.example", "", false, false},
		"one that ends so":               {[]string{ours}, "https://evil-ui.example", "", false, false},
		"another scheme":                 {[]string{ours}, "http://ui.example", "", false, false},
		"another port":                   {[]string{ours}, "https://ui.example:8443", "", false, false},
		"a sandbox":                      {[]string{ours}, "null", "", false, false},
		"who says to be any":             {[]string{"*"}, "*", "*", false, false},
		"a page of our own":              {[]string{ours}, "http://zot.example", "", false, true},
		"a page of our own, none named":  {nil, "http://zot.example", "*", false, true},
		"a page of another port of ours": {nil, "http://zot.example:81", "*", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := entrance.NewOrigins(test.named).Around(http.HandlerFunc(page))
			for _, method := range []string{"GET", "OPTIONS"} {
				header := []string{"Cookie: session=x"}
				if test.origin != "" {
					header = append(header, "Origin: "+test.origin)
				}
				w := sent(t, h, method, "/v2/", header...)
				if got := w.Header().Get("Access-Control-Allow-Origin"); got != test.allowed {
					t.Errorf("%s: allowed is %q, want %q", method, got, test.allowed)
				}
				if got := w.Header().Get("Access-Control-Allow-Credentials"); (got == "true") != test.credentials || got != "" && got != "true" {
					t.Errorf("%s: credentials %q", method, got)
				}
				if w.Header().Get("Vary") != "Origin" {
					t.Errorf("%s: what is for one is for all: %v", method, w.Header())
				}
				if exposed := w.Header().Get("Access-Control-Expose-Headers"); (exposed != "") != (test.allowed != "") || exposed != "" && !strings.Contains(exposed, "X-Request-Id") {
					t.Errorf("%s: exposed is %q", method, exposed)
				}
				if want := map[bool]string{true: "cookie session=x", false: "cookie "}[test.cookie]; method == "GET" && w.Body.String() != want {
					t.Errorf("behind it: %q, want %q", w.Body, want)
				}
			}
		})
	}
}

// A browser that says more of who sends a request is believed.
func TestFetchSite(t *testing.T) {
	t.Parallel()
	h := entrance.NewOrigins(nil).Around(http.HandlerFunc(page))
	for site, cookie := range map[string]bool{"same-origin": true, "none": true, "same-site": false, "cross-site": false} {
		w := sent(t, h, "POST", "/v2/", "Origin: https://behind-a-proxy.example", "Sec-Fetch-Site: "+site, "Cookie: x=y")
		if got := w.Body.String() == "cookie x=y"; got != cookie {
			t.Errorf("%s: %q", site, w.Body)
		}
	}
}

// OPTIONS is answered for every path, and nobody behind it is asked.
func TestOptions(t *testing.T) {
	t.Parallel()
	h := entrance.NewOrigins(nil).Around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody was asked") }))
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for path, allow := range map[string]string{
		"/v2/":                        "GET, HEAD, OPTIONS",
		"/v2":                         "GET, HEAD, OPTIONS",
		"/v2/_catalog":                "GET, HEAD, OPTIONS",
		"/v2/a/b/tags/list":           "GET, HEAD, OPTIONS",
		"/v2/a/b/blobs/" + d:          "DELETE, GET, HEAD, OPTIONS",
		"/v2/a/b/manifests/v1":        "DELETE, GET, HEAD, PUT, OPTIONS",
		"/v2/a/b/manifests/" + d:      "DELETE, GET, HEAD, PUT, OPTIONS",
		"/v2/a/b/blobs/uploads/":      "POST, OPTIONS",
		"/v2/a/b/blobs/uploads/x":     "DELETE, GET, PATCH, PUT, OPTIONS",
		"/v2/a/b/referrers/" + d:      "GET, HEAD, OPTIONS",
		"/v2/_zot/ext/mgmt":           "DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS",
		"/zot/auth/token":             "DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS",
		"/v2/UPPER/manifests/v1":      "DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS",
		"/readyz":                     "DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS",
		"/v2/../etc/passwd":           "DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS",
		"/v2/a/b/manifests/%0d%0aX:y": "DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS",
	} {
		w := sent(t, h, "OPTIONS", path, "Origin: https://ui.example", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-zot-api-client")
		if w.Code != http.StatusNoContent || w.Header().Get("Allow") != allow || w.Header().Get("Access-Control-Allow-Methods") != allow {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
		if w.Header().Get("Access-Control-Allow-Headers") != "Authorization,content-type,X-ZOT-API-CLIENT" {
			t.Errorf("%s: %v", path, w.Header())
		}
		if w := sent(t, h, "OPTIONS", path); w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Methods") != "" || w.Header().Get("Allow") != allow {
			t.Errorf("%s, of no page: %d, %v", path, w.Code, w.Header())
		}
	}
}
