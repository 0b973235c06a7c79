package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// signer signs with the programs that people use, by keys of its own.
type signer struct {
	t                *testing.T
	dir              string
	cosign, notation string
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{t, t.TempDir(), harness.Program(t, "COSIGN"), harness.Program(t, "NOTATION")}
	for name, value := range map[string]string{
		"HOME": s.dir, "XDG_CONFIG_HOME": filepath.Join(s.dir, "config"), "DOCKER_CONFIG": s.dir, "COSIGN_PASSWORD": "",
	} {
		t.Setenv(name, value)
	}
	t.Chdir(s.dir) // where cosign leaves keys
	harness.Run(t, s.cosign, "generate-key-pair")
	harness.Run(t, s.cosign, "signing-config", "create", "--out", "nobody.json") // no log, and no service of anybody's
	harness.Run(t, s.notation, "cert", "generate-test", "--default", "signer.example")
	if err := os.WriteFile("about.json", []byte(`{"license": "Apache-2.0"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// key is the public key of cosign.
func (s *signer) key() string { return s.read("cosign.pub") }

func (s *signer) certificate() string { return s.read("config/notation/localkeys/signer.example.crt") }

func (s *signer) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// byCosign signs an image as cosign does since its version 3, and as before.
func (s *signer) byCosign(image string) {
	s.t.Helper()
	harness.Run(s.t, s.cosign, "sign", "--yes", "--key", "cosign.key", "--signing-config", "nobody.json", "--allow-http-registry", image)
	harness.Run(s.t, s.cosign, "sign", "--yes", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false", "--allow-http-registry", image)
}

// attest says something about an image, which is no signature of it.
func (s *signer) attest(image string) {
	s.t.Helper()
	harness.Run(s.t, s.cosign, "attest", "--yes", "--key", "cosign.key", "--signing-config", "nobody.json", "--allow-http-registry", "--predicate", "about.json", image)
}

// byNotation signs an image in both forms of notation.
func (s *signer) byNotation(image string) {
	s.t.Helper()
	harness.Run(s.t, s.notation, "sign", "--insecure-registry", "--signature-format", "jws", image)
	harness.Run(s.t, s.notation, "sign", "--insecure-registry", "--signature-format", "cose", image)
}

// signatures are what a node says of an image: "tool trusted author" of each.
func signatures(t *testing.T, n *harness.Node, repository, reference string) (all []string) {
	t.Helper()
	status, body := askAs(t, n, "", http.MethodGet, "/v2/_zot/ext/signatures?repo="+repository+"&reference="+url.QueryEscape(reference), "")
	var said struct {
		Digest        digest.Digest
		IsSigned      bool
		SignatureInfo []struct {
			Tool, Author string
			IsTrusted    bool
		}
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || status != http.StatusOK || said.IsSigned != (len(said.SignatureInfo) > 0) {
		t.Fatalf("%s: %d %s", n.Name, status, body)
	}
	for _, s := range said.SignatureInfo {
		author := s.Author
		switch {
		case strings.Contains(author, "CN=signer.example"):
			author = "signer.example"
		case strings.HasPrefix(author, "-----BEGIN PUBLIC KEY-----"):
			author = "key"
		}
		all = append(all, fmt.Sprintf("%s %t %s", s.Tool, s.IsTrusted, author))
	}
	slices.Sort(all)
	return all
}

// askAs sends a request as somebody, "" for nobody.
func askAs(t *testing.T, n *harness.Node, name, method, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, n.URL(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if name != "" {
		r.SetBasicAuth(name, "of "+name)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(got.Body)
	if err = errors.Join(err, got.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// Administrators say whose signatures are believed, on any node, and every node goes by it at once; it outlives nodes, and
// ends when it is taken back.
func TestSignatures(t *testing.T) {
	signs := newSigner(t)
	passwords := filepath.Join(signs.dir, "htpasswd")
	if err := os.WriteFile(passwords, []byte(crypted), 0o600); err != nil {
		t.Fatal(err)
	}
	section := map[string]any{
		"auth": map[string]any{"htpasswd": map[string]any{"path": passwords}},
		"accessControl": map[string]any{
			"repositories": map[string]any{"**": map[string]any{"anonymousPolicy": []string{"read", "create", "update"}, "defaultPolicy": []string{"read"}}},
			"adminPolicy":  map[string]any{"users": []string{"bob"}, "actions": []string{"read", "create", "delete"}},
		},
	}
	trust := map[string]any{"mgmt": map[string]any{}, "trust": map[string]any{"cosign": true, "notation": true}}
	plan := harness.Plan{HTTP: section, Extensions: trust}
	nodes := harness.StartEach(t, plan, plan, plan)
	one, image := onePlatform(t, 1300, 1<<20, 100)
	two, another := onePlatform(t, 1301, 1000, 100)
	for n, layout := range []string{one.Dir, two.Dir} {
		crane(t, "push", layout, fmt.Sprintf("%s/signed/app:%d", nodes[n].Address, n+1))
	}
	at := nodes[0].Address + "/signed/app@"
	if all := signatures(t, nodes[1], "signed/app", "1"); len(all) > 0 {
		t.Errorf("before it is signed: %q", all)
	}
	signs.byCosign(at + image.Digest.String())
	signs.byNotation(at + image.Digest.String())
	signs.attest(at + image.Digest.String())

	everywhere := func(when string, want ...string) {
		t.Helper()
		for _, n := range nodes {
			for _, reference := range []string{"1", image.Digest.String()} {
				if all := signatures(t, n, "signed/app", reference); !slices.Equal(all, want) {
					t.Errorf("%s, %s says of %s\n%s\nwant\n%s", when, n.Name, reference, strings.Join(all, "\n"), strings.Join(want, "\n"))
				}
			}
			if all := signatures(t, n, "signed/app", another.Digest.String()); len(all) > 0 {
				t.Errorf("%s, %s says of another image %q", when, n.Name, all)
			}
		}
	}
	const cosign, notation = "/v2/_zot/ext/cosign", "/v2/_zot/ext/mgmt?resource=signatures&tool=notation&truststoreName=ours"
	everywhere("without keys", "cosign false ", "cosign false ", "notation false signer.example", "notation false signer.example")
	for who, want := range map[string]int{"": http.StatusUnauthorized, "carl": http.StatusForbidden} {
		if status, body := askAs(t, nodes[0], who, http.MethodPost, cosign, signs.key()); status != want {
			t.Errorf("%q gives a key: %d %s", who, status, body)
		}
	}
	for _, path := range []string{cosign, notation} {
		if status, body := askAs(t, nodes[0], "bob", http.MethodPost, path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"); status != http.StatusBadRequest {
			t.Errorf("a private key: %d %s", status, body)
		}
	}
	everywhere("with nothing that was taken", "cosign false ", "cosign false ", "notation false signer.example", "notation false signer.example")

	if status, body := askAs(t, nodes[1], "bob", http.MethodPost, cosign, signs.key()); status != http.StatusOK {
		t.Fatalf("key: %d %s", status, body)
	}
	if status, body := askAs(t, nodes[2], "bob", http.MethodPost, notation, signs.certificate()); status != http.StatusOK {
		t.Fatalf("certificate: %d %s", status, body)
	}
	trusted := []string{"cosign true key", "cosign true key", "notation true signer.example", "notation true signer.example"}
	everywhere("with keys", trusted...)

	for _, n := range nodes {
		n.Kill(t)
	}
	for _, n := range nodes {
		n.Serve(t)
	}
	harness.WaitWritable(t, nodes...)
	everywhere("after a power cut", trusted...)

	gone := cosign + "?digest=" + digest.FromString(signs.key()).String()
	if status, body := askAs(t, nodes[2], "bob", http.MethodDelete, gone, ""); status != http.StatusOK {
		t.Fatalf("taken back: %d %s", status, body)
	}
	everywhere("when one was taken back", "cosign false ", "cosign false ", "notation true signer.example", "notation true signer.example")
}
