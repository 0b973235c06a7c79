package config_test

import (
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
	} {
		c, _, err := config.Parse("config.json", []byte(minimal(more)), "zot-0")
		if err != nil || c.HTTP.Auth.APIKeys != want {
			t.Errorf("%s: %t, %v; want %t", more, c.HTTP.Auth.APIKeys, err, want)
		}
	}
}
