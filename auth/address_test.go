package auth_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
)

func TestClient(t *testing.T) {
	t.Parallel()
	proxies := auth.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, test := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"a client itself":                {"192.0.2.1:1000", nil, "192.0.2.1"},
		"a client that lies":             {"192.0.2.1:1000", []string{"198.51.100.1"}, "192.0.2.1"},
		"by a proxy":                     {"10.0.0.1:1000", []string{"192.0.2.1"}, "192.0.2.1"},
		"a lie by a proxy":               {"10.0.0.1:1000", []string{"198.51.100.1, 192.0.2.1"}, "192.0.2.1"},
		"by two proxies":                 {"10.0.0.1:1000", []string{"198.51.100.1", "192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		"a proxy itself":                 {"10.0.0.1:1000", nil, "10.0.0.1"},
		"a proxy by a proxy":             {"10.0.0.1:1000", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		"what is no address":             {"10.0.0.1:1000", []string{"192.0.2.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		"nothing":                        {"10.0.0.1:1000", []string{""}, "10.0.0.1"},
		"with a port":                    {"10.0.0.1:1000", []string{"192.0.2.1:4000"}, "192.0.2.1"},
		"IPv6":                           {"[fd00::1]:1000", []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 with a port":               {"[fd00::1]:1000", []string{"[2001:db8::1]:4000"}, "2001:db8::1"},
		"IPv6 with a zone":               {"[fe80::1%eth0]:1000", nil, "fe80::1"},
		"IPv4 in IPv6":                   {"[::ffff:10.0.0.1]:1000", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		"a listener without an address":  {"@", []string{"192.0.2.1"}, "invalid IP"},
		"a header of those who have one": {"", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		if got := proxies.Client(r).String(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if got := auth.Proxies(nil).Client(r); proxies.Client(&http.Request{RemoteAddr: test.remote}) != got {
			t.Errorf("%s: without proxies it is %s", name, got)
		}
	}
}

// Whoever has forgotten to name a proxy is told, once.
func TestUnnamedProxy(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	proxies := auth.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	g := auth.New(auth.Config{Methods: []auth.Method{&method{}}, Proxies: proxies, Logger: hclog.New(&hclog.LoggerOptions{Output: &said})})
	for _, test := range []struct {
		remote, forwarded string
		lines             int
	}{{"192.0.2.1:1", "", 0}, {"10.0.0.1:1", "192.0.2.1", 0}, {"192.0.2.1:1", "192.0.2.2", 1}, {"192.0.2.1:1", "192.0.2.2", 1}} {
		r := (&http.Request{RemoteAddr: test.remote, Header: http.Header{}}).WithContext(t.Context())
		r.Header.Set("X-Forwarded-For", test.forwarded)
		r.SetBasicAuth("alice", "alice")
		if _, err := g.Identify(r); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(said.String(), "cluster.trustedProxies"); got != test.lines {
			t.Errorf("after a request from %s for %q: %d lines, want %d", test.remote, test.forwarded, got, test.lines)
		}
	}
}
