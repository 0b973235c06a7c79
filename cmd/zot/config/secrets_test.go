package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// What is said of an address goes to the log of a node that runs, too.
func TestPasswordsInAddressesAreNotSaid(t *testing.T) {
	t.Parallel()
	const at = "https://user:secret@h.example"
	for _, http := range []string{
		`"externalUrl": "` + at + `"`,
		`"allowOrigin": "` + at + `"`,
		`"auth": {"bearer": {"realm": "user:secret@h.example"}}`,
		`"auth": {"bearer": {"oidc": [{"issuer": "user:secret@h.example"}]}}`,
		`"auth": {"bearer": {"upstreamTokenEndpoint": {"realm": "` + at + `", "service": "s"}}}`,
		`"auth": {"openid": {"callbackAllowOrigins": ["` + at + `/x"]}}`,
		`"auth": {"openid": {"callbackAllowOrigins": ["` + at + `"]}}`,
		`"auth": {"openid": {"providers": {"oidc": {"clientid": "c", "scopes": ["openid"], "issuer": "` + at + `"}}}}`,
	} {
		_, notes, err := config.Parse("config.json", []byte(minimal(`, "http": {`+http+`}`)), "zot-0")
		said := fmt.Sprint(notes, err)
		if !strings.Contains(said, "h.example") || strings.Contains(said, "secret") {
			t.Errorf("%s: %s", http, said)
		}
	}
}
