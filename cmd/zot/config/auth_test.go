package config_test

import (
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func TestAPIKeysAreOn(t *testing.T) {
	t.Parallel()
	const htpasswd = `"htpasswd": {"path": "p"}`
	for more, want := range map[string]bool{
		``:                                       false,
		`, "http": {"auth": {` + htpasswd + `}}`: false,
		`, "http": {"auth": {` + htpasswd + `, "apikey": true}}`:                                                            true,
		`, "http": {"auth": {` + htpasswd + `}}, "extensions": {"apikey": {}}`:                                              true,
		`, "http": {"auth": {` + htpasswd + `}}, "extensions": {"apikey": {"enable": "true"}}`:                              true,
		`, "http": {"auth": {` + htpasswd + `}}, "extensions": {"apikey": {"enable": false}}`:                               false,
		`, "http": {"auth": {"openid": {"providers": {"github": {"clientid": "c", "scopes": ["user"]}}}}}`:                  true,
		`, "http": {"auth": {"openid": {"providers": {"github": {"clientid": "c", "scopes": ["user"]}}}, "apikey": false}}`: false,
		`, "http": {"auth": {"apikey": true}}`:                                                                              false,
		`, "http": {"auth": {"apikey": true}, "tls": {"cert": "c", "key": "k", "cacert": "a"}}`:                             true,
		`, "http": {"auth": {"apikey": true}, "tls": {"cacert": "a"}}`:                                                      false, // nobody could show a certificate
	} {
		c, _, err := config.Parse("config.json", []byte(minimal(more)), "zot-0")
		if err != nil || c.HTTP.Auth.APIKeys != want {
			t.Errorf("%s: %t, %v; want %t", more, c.HTTP.Auth.APIKeys, err, want)
		}
	}
}

// Who grants repositories to everybody asks nobody for a certificate, in whichever way it is written.
func TestCertificatesAreNeeded(t *testing.T) {
	t.Parallel()
	for control, want := range map[string]bool{
		`"repositories": {"**": {"anonymousPolicy": []}}`:                                                  true,
		`"repositories": {"**": {"anonymousPolicy": ""}}`:                                                  true,
		`"repositories": {"**": {"anonymousPolicy": ["read"]}}`:                                            false,
		`"repositories": {"**": {"anonymousPolicy": "read"}}`:                                              false,
		`"public/**": {"AnonymousPolicy": ["read"]}`:                                                       false,
		`"metrics": {"anonymousPolicy": ["read"]}`:                                                         true,
		`"Metrics": {"users": ["p"], "anonymousPolicy": ["read"]}, "**": {"defaultPolicy": ["read"]}`:      true,
		`"metrics": {"anonymousPolicy": ["read"]}, "repositories": {"**": {"anonymousPolicy": ["read"]}}`:  false,
		`"repositories": {"metrics": {"anonymousPolicy": ["read"]}}`:                                       false,
		`"repositories": {"metrics": {"policies": [{"users": ["a"], "actions": ["read"]}]}}, "groups": {}`: true,
	} {
		c, _, err := config.Parse("config.json", []byte(minimal(`, "http": {"tls": {"cert": "c", "key": "k", "cacert": "a"}, "accessControl": {`+control+`}}`)), "zot-0")
		if err != nil || c.HTTP.TLS.ClientMust != want {
			t.Errorf("%s: %t, %v", control, c.HTTP.TLS.ClientMust, err)
		}
	}
}

// Without TLS nobody is asked for a certificate, whatever cacert says, and so nobody has a name by one.
func TestCertificatesNeedTLS(t *testing.T) {
	t.Parallel()
	for _, tls := range []string{`"cacert": "a"`, `"cacert": "a", "cert": "c"`, `"cacert": "a", "key": "k"`} {
		c, _, err := config.Parse("config.json", []byte(minimal(`, "http": {"tls": {`+tls+`}, "auth": {"apikey": true}}`)), "zot-0")
		if err != nil || c.HTTP.TLS.ClientMust || c.HTTP.Auth.LogsIn() {
			t.Errorf("%s: certificates are needed: %t, there are logins: %t, %v", tls, c.HTTP.TLS.ClientMust, c.HTTP.Auth.LogsIn(), err)
		}
		_, _, err = config.Parse("config.json", []byte(minimal(`, "http": {"tls": {`+tls+`}, "accessControl": {"**": {"policies": [{"users": ["alice"], "actions": ["read"]}]}}}`)), "zot-0")
		if err == nil || !strings.Contains(err.Error(), "there is no way to log in") {
			t.Errorf("%s: policies for users: %v", tls, err)
		}
	}
}

// So many seconds that their nanoseconds begin again at 0.
func TestFailDelayIsBounded(t *testing.T) {
	t.Parallel()
	for _, seconds := range []string{"61", "-1", "18446744074"} {
		_, _, err := config.Parse("config.json", []byte(minimal(`, "http": {"auth": {"failDelay": `+seconds+`}}`)), "zot-0")
		if err == nil || err.Error() != "http.auth.failDelay: "+seconds+" is none of them; give seconds, 0 to 60" {
			t.Errorf("%s: %v", seconds, err)
		}
	}
}

// A text without anything is a list without anything, as for zot.
func TestNoTextIsNobody(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("config.json", []byte(minimal(`, "http": {"auth": {"htpasswd": {"path": "p"}}, "accessControl": {"adminPolicy": {"users": "", "actions": ""}}}`)), "zot-0")
	if admin := c.HTTP.Auth.Access.Admin; err != nil || len(admin.Users) > 0 || admin.Actions != 0 {
		t.Errorf("%+v, %v", admin, err)
	}
}
