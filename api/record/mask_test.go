package record_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// No secret of a request is in its lines, wherever clients and proxies put them.
func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"Authorization: Basic HUNTER2", "Authorization: Bearer HUNTER2", "authorization: HUNTER2", "Proxy-Authorization: Basic HUNTER2", "Cookie: session=HUNTER2",
		"Set-Cookie: session=HUNTER2", "X-Zot-Caller: HUNTER2", "X-Registry-Auth: HUNTER2", "X-Registry-Config: HUNTER2", "X-Auth-Token: HUNTER2",
		"X-Amz-Security-Token: HUNTER2", "X-Api-Key: HUNTER2", "Apikey: HUNTER2", "X-Client-Secret: HUNTER2", "X-Forwarded-Access-Token: HUNTER2",
		"Referer: https://zot.example/auth/callback/github?code=HUNTER2&x=1", "Referer: https://alice:HUNTER2@zot.example/", "X-Original-Uri: /v2/?access_token=HUNTER2",
		"X-Anything: Bearer HUNTER2", "User-Agent: basic HUNTER2",
	} {
		w := newWritten(hclog.Info)
		w.Around(answering(201, "")).ServeHTTP(httptest.NewRecorder(), request(t, "PUT", "/v2/", header))
		if text := w.log.String() + w.audit.String(); strings.Contains(text, "HUNTER2") || !strings.Contains(text, "******") {
			t.Errorf("%s is written as\n%s", header, text)
		}
	}
	for query, want := range map[string]string{
		"access_token=HUNTER2":                             "access_token=******",
		"a=b&Token=HUNTER2&c=d":                            "a=b&Token=******&c=d",
		"code=HUNTER2&state=HUNTER2":                       "code=******&state=******",
		"password=HUNTER2;x=y":                             "password=******;x=y",
		"client_secret=HUNTER2&refresh_token=HUNTER2":      "client_secret=******&refresh_token=******",
		"%74oken=HUNTER2":                                  "%74oken=******",
		"%zz=HUNTER2":                                      "%zz=******",
		"account=alice&service=zot&scope=repository:a:*":   "account=alice&service=zot&scope=repository:a:*",
		"digest=sha256:e3b0&_state=abc":                    "digest=sha256:e3b0&_state=abc",
		"id=0c5a&tag=v1&tag=v2":                            "id=0c5a&tag=v1&tag=v2",
		"X-Amz-Credential=HUNTER2&X-Amz-Signature=HUNTER2": "X-Amz-Credential=******&X-Amz-Signature=******",
		"mount=x&from=":                                    "mount=x&from=",
		"alone":                                            "alone",
		"&&a=b&":                                           "&&a=b&",
	} {
		w := newWritten(hclog.Info)
		w.Around(answering(201, "")).ServeHTTP(httptest.NewRecorder(), request(t, "PUT", "/v2/?"+query))
		if got := one(t, &w.log)["path"]; got != "/v2/?"+want {
			t.Errorf("%s is logged as %v", query, got)
		}
		if got := one(t, &w.audit)["object"]; got != "/v2/?"+want {
			t.Errorf("%s is audited as %v", query, got)
		}
	}
}

// What says nothing to anybody does not fill disks.
func TestLongLinesAreCut(t *testing.T) {
	t.Parallel()
	w := newWritten(hclog.Info)
	r := request(t, "GET", "/v2/"+strings.Repeat("p", 60<<10), "X-Long: "+strings.Repeat("v", 60<<10))
	r.Header["X-Many"] = make([]string, 5000)
	for i := range 5000 {
		r.Header["X-"+strings.Repeat("n", i)] = []string{"v"}
	}
	w.Around(answering(200, "")).ServeHTTP(httptest.NewRecorder(), r)
	if size := w.log.Len(); size > 128<<10 {
		t.Errorf("a line of %d bytes", size)
	}
	if path, _ := one(t, &w.log)["path"].(string); len(path) > 5<<10 {
		t.Errorf("a path of %d bytes", len(path))
	}
}
