package api_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/bearer"
)

// foreign is another token service, as far as its tokens go.
type foreign struct {
	t      *testing.T
	key    ed25519.PrivateKey
	tokens *bearer.Verifier
}

func newForeign(t *testing.T) foreign {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := bearer.Open(bearer.Config{Realm: "https://auth.example/token", Service: "zot", KeyFile: file})
	if err != nil {
		t.Fatal(err)
	}
	return foreign{t, private, tokens}
}

// with is the header of a token for some scopes.
func (f foreign) with(scope string) string {
	f.t.Helper()
	var granted []any
	for one := range strings.FieldsSeq(scope) {
		a, is := auth.ParseScope(one)
		if !is {
			f.t.Fatalf("%q is no scope", one)
		}
		granted = append(granted, a)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: f.key}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "access": granted}).Serialize()
	if err != nil {
		f.t.Fatal(err)
	}
	return "Authorization: Bearer " + text
}

// TestForeignTokens asks for everything with tokens for each thing, and is told what another token would have to be for.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	config, hidden := digest.FromString("config").String(), digest.FromString("hidden").String()
	same := image(config, "")
	const scopes = 6
	tokens := [scopes]string{"", "repository:a/b:pull", "repository:a/b:push", "repository:a/b:pull,push", "repository:a/b:delete", "repository:a/b:* repository:hidden/x:pull"}
	for _, test := range []struct {
		what   string
		call   call
		scope  string // that is asked for
		nobody int
		want   [scopes]int // by the tokens
	}{
		{"greeting", call{method: "GET", path: "/v2/"}, "", 401, [scopes]int{200, 200, 200, 200, 200, 200}},
		{"catalog", call{method: "GET", path: "/v2/_catalog"}, "registry:catalog:*", 401, [scopes]int{200, 200, 200, 200, 200, 200}},
		{"pull by tag", call{method: "GET", path: "/v2/a/b/manifests/1"}, "repository:a/b:pull", 401, [scopes]int{401, 200, 401, 200, 401, 200}},
		{"look at a blob", call{method: "HEAD", path: "/v2/a/b/blobs/" + config}, "repository:a/b:pull", 401, [scopes]int{401, 200, 401, 200, 401, 200}},
		{"tags", call{method: "GET", path: "/v2/a/b/tags/list"}, "repository:a/b:pull", 401, [scopes]int{401, 200, 401, 200, 401, 200}},
		{"begin of a push", call{method: "POST", path: "/v2/a/b/blobs/uploads/"}, "repository:a/b:pull,push", 401, [scopes]int{401, 401, 202, 202, 401, 202}},
		{"push of a blob", call{method: "POST", path: "/v2/a/b/blobs/uploads/?digest=" + digest.FromString("other").String(), body: "other"}, "repository:a/b:pull,push", 401, [scopes]int{401, 401, 201, 201, 401, 201}},
		{"its status", call{method: "GET", path: "/v2/a/b/blobs/uploads/x"}, "repository:a/b:pull,push", 401, [scopes]int{401, 401, 404, 404, 401, 404}},
		{"a tag again", call{method: "PUT", path: "/v2/a/b/manifests/1", header: []string{"Content-Type: " + typeImage}, body: same}, "repository:a/b:pull,push", 401, [scopes]int{401, 401, 201, 201, 401, 201}},
		{"delete by digest", call{method: "DELETE", path: "/v2/a/b/manifests/" + digest.FromString(same).String()}, "repository:a/b:delete", 401, [scopes]int{401, 401, 401, 401, 202, 202}},
		{"mount", call{method: "POST", path: "/v2/a/b/blobs/uploads/?from=hidden/x&mount=" + hidden}, "repository:a/b:pull,push repository:hidden/x:pull", 401, [scopes]int{401, 401, 202, 202, 401, 201}},
		{"another repository", call{method: "GET", path: "/v2/a/bc/tags/list"}, "repository:a/bc:pull", 401, [scopes]int{401, 401, 401, 401, 401, 401}},
	} {
		for i := -1; i < scopes; i++ {
			t.Run(fmt.Sprintf("%s/%d", test.what, i), func(t *testing.T) {
				t.Parallel()
				f := newForeign(t)
				w := newWorld(t)
				w.pushImage("1", "")
				w.pushImage("2", "")
				w.push("hidden/x", "hidden")
				g := w.gated(auth.Config{Bearer: f.tokens, Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{"**": {Anonymous: everything}}})})
				c, want, reason := test.call, test.nobody, ""
				if i >= 0 {
					c.header, want, reason = append([]string{f.with(tokens[i])}, c.header...), test.want[i], `,error="insufficient_scope"`
				}
				got := send(t, g, c)
				challenge := `Bearer realm="https://auth.example/token",service="zot"`
				if test.scope != "" {
					challenge += `,scope="` + test.scope + `"`
				}
				if challenge += reason; want != 401 {
					challenge = ""
				}
				if got.Code != want || got.Header().Get("WWW-Authenticate") != challenge {
					t.Errorf("%d %s, challenge %s; want %d, %s", got.Code, got.Body, got.Header().Get("WWW-Authenticate"), want, challenge)
				}
			})
		}
	}
}

// TestForeignCatalog shows what a token is for, or all.
func TestForeignCatalog(t *testing.T) {
	t.Parallel()
	f, w := newForeign(t), newWorld(t)
	for _, name := range []string{"a/b", "a/c", "d"} {
		body := image(w.push(name, "config"), "")
		w.must(http.StatusCreated, call{method: "PUT", path: "/v2/" + name + "/manifests/1", header: []string{"Content-Type: " + typeImage}, body: body})
	}
	g := w.gated(auth.Config{Bearer: f.tokens})
	for scope, want := range map[string]string{
		"":                                   `{"repositories":[]}`,
		"repository:a/c:pull":                `{"repositories":["a/c"]}`,
		"repository:a/c:push repository:d:*": `{"repositories":["d"]}`,
		"registry:catalog:*":                 `{"repositories":["a/b","a/c","d"]}`,
		"registry:catalog:pull":              `{"repositories":[]}`,
	} {
		got := send(t, g, call{method: "GET", path: "/v2/_catalog", header: []string{f.with(scope)}})
		if body := strings.TrimSpace(got.Body.String()); got.Code != 200 || body != want {
			t.Errorf("%q: %d %s, want %s", scope, got.Code, body, want)
		}
	}
}
