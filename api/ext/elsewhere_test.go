package ext_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// A page of another site changes nothing here either, at none of the paths, however they are written.
func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := struct{ APIKey, UUID string }{}
	if err := json.Unmarshal(w.do(call{method: "POST", path: ours, name: "ann", body: "{}"}).Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	before := w.sequence
	for _, c := range []call{
		{method: "POST", path: ours, body: "{}", header: []string{"Content-Type: text/plain"}},
		{method: "POST", path: "/v2/_zot/ext/apikey", body: "{}"},
		{method: "DELETE", path: ours + "?id=" + made.UUID},
		{method: "DELETE", path: "/v2/_zot/ext/apikey?id=" + made.UUID},
		{method: "PUT", path: "/v2/_zot/ext/userprefs?action=toggleStar&repo=a/b"},
		{method: "POST", path: "/zot/auth/logout", header: []string{"X-ZOT-API-CLIENT: zot-ui"}},
		{method: "POST", path: "/auth/logout", header: []string{"X-ZOT-API-CLIENT: zot-ui"}},
		{method: "POST", path: service, body: "grant_type=password&username=ann&password=of+ann", header: []string{"Content-Type: application/x-www-form-urlencoded"}},
		{method: "POST", path: "/v2/_zot/ext/mgmt"},
	} {
		c.name = "ann"
		for _, site := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
			one := c
			one.header = append([]string{site}, c.header...)
			if got := w.do(one); got.Code != http.StatusForbidden || got.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s %s, %s: %d %s", c.method, c.path, site, got.Code, got.Body)
			}
		}
	}
	if w.sequence != before {
		t.Errorf("%d commands were applied", w.sequence-before)
	}
	if _, err := w.Key(t.Context(), made.APIKey); err != nil {
		t.Errorf("the key: %v", err)
	}
}

// What method a request has, no header says and no query.
func TestMethodIsThatOfTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.sequence
	for _, header := range []string{"X-HTTP-Method-Override: POST", "X-HTTP-Method: POST", "X-Method-Override: POST"} {
		got := w.do(call{method: "GET", path: ours + "?_method=POST", name: "ann", body: "{}", header: []string{header, "Sec-Fetch-Site: cross-site"}})
		if got.Code != http.StatusOK || w.sequence != before {
			t.Errorf("%s: %d %s, %d commands", header, got.Code, got.Body, w.sequence-before)
		}
	}
}
