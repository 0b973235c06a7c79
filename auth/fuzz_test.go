package auth_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/token"
)

// FuzzIdentify has nobody be known by a header that is made up: there is one name, with one password, and no secret that
// could be guessed.
func FuzzIdentify(f *testing.F) {
	g := auth.New(auth.Config{
		Methods: []auth.Method{only{}}, Keys: keys{}, Sessions: &logins{names: map[string]string{}}, Tokens: must(token.New([][]byte{make([]byte, 32)})),
		Proxies: auth.Proxies{}, Certificates: &auth.Certificates{Attributes: []auth.Attribute{auth.CommonName}},
	})
	f.Add("Basic YW5uOnA=", "session=x; session=y", "192.0.2.1:1", "10.0.0.1, [::1]")
	f.Add("Bearer e30.e30.e30", "session=", "[2001:db8::1%eth0]:80", ",,")
	f.Add("Basic Og==", "", "@", "\x00")
	f.Fuzz(func(t *testing.T, authorization, cookie, address, forwarded string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = address
		r.Header = http.Header{"Authorization": {authorization}, "Cookie": {cookie}, "X-Forwarded-For": {forwarded}, "X-Zot-Api-Client": {"zot-ui"}}
		caller, err := g.Identify(r)
		name, secret, _ := r.BasicAuth()
		if right := name == "ann" && secret == "p"; caller.Name() != "" && !right || err == nil && !right {
			t.Errorf("%q with %q is %q, %v", authorization, cookie, caller.Name(), err)
		}
		g.Challenge(r, caller, g.Origin(r), nil)
	})
}

// only is a method that knows one name.
type only struct{}

func (only) Verify(_ context.Context, name, password string) ([]string, error) {
	if name != "ann" || password != "p" {
		return nil, auth.ErrUnknown
	}
	return nil, nil
}

// FuzzDecode reads what another node has sent of a caller, whatever it is, without granting what is not in it.
func FuzzDecode(f *testing.F) {
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Rules: must(access.Compile(access.Config{}))})
	f.Add(`{"Everything":true}`)
	f.Add(`{"Name":"ann","Groups":["devs"],"Token":true,"Granted":[{"type":"repository","name":"a","actions":["pull"]}]}`)
	f.Add("")
	f.Add("null")
	f.Fuzz(func(t *testing.T, text string) {
		caller, err := g.Decode(text)
		if err != nil {
			return
		}
		if may := caller.May(access.Read, "a"); may != (caller.Encode() == auth.Caller{}.Encode()) {
			t.Errorf("%q may read", text)
		}
		if again, err := g.Decode(caller.Encode()); err != nil || again.Encode() != caller.Encode() {
			t.Errorf("%q is %q, and then %q, %v", text, caller.Encode(), again.Encode(), err)
		}
	})
}
