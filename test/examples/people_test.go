package examples_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// visitor is who asks, and by what; zero is nobody.
type visitor struct {
	name, password string
	token          string // instead
	with           *moved // where there is TLS
}

// people are those whom an example lets in.
type people struct {
	known  []visitor // with each way to log in that is in the example
	pusher string    // who of these may push; "": all of them
	signer jose.Signer
}

// meet makes accounts for all whom a section "http" speaks of, wherever its section "auth" looks for them, and for one more
// in each of these places.
func (m *moved) meet(t *testing.T, web section) people {
	t.Helper()
	p := people{pusher: pusher(web.in("accessControl"))}
	names := slices.Sorted(maps.Keys(mentioned(web.at("accessControl"))))
	places := []string{}
	auth := web.in("auth")
	if s := auth.in("htpasswd"); s != nil {
		places = append(places, "file")
		s.put("path", passwords(t, append(names, "one of the file")))
	}
	if s := auth.in("ldap"); s != nil {
		places = append(places, "directory")
		m.directory(t, s, append(names, "one of the directory"), groups(web.in("accessControl")))
		m.secrets = append(m.secrets, s.text("bindPassword"))
		if len(groups(web.in("accessControl"))) > 0 {
			p.known = append(p.known, visitor{name: member, password: password(member, "directory"), with: m})
		}
	}
	for _, place := range places {
		for _, name := range append(names, "one of the "+place) {
			p.known = append(p.known, visitor{name: name, password: password(name, place), with: m})
		}
	}
	if s := auth.in("bearer"); s != nil {
		p.signer = m.bearer(t, s)
	}
	if s := auth.in("openid"); s != nil {
		m.issuer = m.openid(t, s)
	}
	for _, who := range p.known {
		m.secrets = append(m.secrets, who.password)
	}
	return p
}

// password is what somebody has in one place.
func password(name, place string) string { return "what " + name + " has in the " + place }

// passwords is a file of bcrypt.
func passwords(t *testing.T, names []string) string {
	t.Helper()
	var lines strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte(password(name, "file")), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s:%s\n", name, hash)
	}
	return put(t, "htpasswd", lines.String())
}

func put(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// mentioned are all users that a part of a configuration speaks of.
func mentioned(v any) map[string]bool {
	all := map[string]bool{}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range list(section(v).at("users")) {
			all[name] = true
		}
		for _, inner := range v {
			maps.Copy(all, mentioned(inner))
		}
	case []any:
		for _, inner := range v {
			maps.Copy(all, mentioned(inner))
		}
	}
	return all
}

// pusher is one who may pull and push everywhere, by a section "accessControl"; "" without one.
func pusher(s section) string {
	if s == nil {
		return ""
	}
	policies, _ := s.at("repositories", "**", "policies").([]any)
	if admin := s.at("adminPolicy"); admin != nil {
		policies = append([]any{admin}, policies...)
	}
	for _, p := range policies {
		policy := section(p.(map[string]any))
		actions, users := list(policy.at("actions")), list(policy.at("users"))
		if len(users) > 0 && slices.Contains(actions, "read") && slices.Contains(actions, "create") {
			return users[0]
		}
	}
	return "nobody of the policies"
}

// groups are those of a directory that may pull and push everywhere.
func groups(s section) (all []string) {
	policies, _ := s.at("repositories", "**", "policies").([]any)
	for _, p := range policies {
		for _, group := range list(section(p.(map[string]any)).at("groups")) {
			if strings.HasSuffix(group, ","+harness.DirectoryBase) {
				all = append(all, group)
			}
		}
	}
	return all
}

// member is in every group that the directory has.
const member = "a member of groups"

// directory runs OpenLDAP with the entries that a section "ldap" looks for.
func (m *moved) directory(t *testing.T, s section, names, groups []string) {
	t.Helper()
	base, account := s.text("baseDN"), s.text("bindDN")
	if !strings.HasSuffix(base, ","+harness.DirectoryBase) {
		t.Fatalf("the directory of the test has no %q", base)
	}
	entry := func(dn, class, more string) string {
		kind, name, _ := strings.Cut(strings.Split(dn, ",")[0], "=")
		return fmt.Sprintf("dn: %s\nobjectClass: %s\n%s: %s\n%s\n", dn, class, kind, name, more)
	}
	first := entry(harness.DirectoryBase, "dcObject", "objectClass: organization\no: example\n") +
		entry(base, "organizationalUnit", "") + entry("ou=Groups,"+harness.DirectoryBase, "organizationalUnit", "")
	if account != "" {
		first += entry(account, "organizationalRole", "objectClass: simpleSecurityObject\nuserPassword: "+s.text("bindPassword")+"\n")
	}
	for _, name := range append(names, member) {
		first += entry(s.text("userAttribute")+"="+name+","+base, "inetOrgPerson", "cn: "+name+"\nsn: "+name+"\nuserPassword: "+password(name, "directory")+"\n")
	}
	others := ""
	for _, group := range groups {
		others += entry(group, "groupOfNames", "member: "+s.text("userAttribute")+"="+member+","+base+"\n")
	}
	d := harness.StartDirectory(t, first, others)
	s.put("address", "127.0.0.1")
	s.put("port", d.TLSPort)
	if insecure, _ := s.at("insecure").(bool); insecure {
		s.put("port", d.Port)
	}
	t.Setenv("SSL_CERT_FILE", d.CA) // this machine trusts it, as the example has it
}

// bearer makes the key of another token service, and signs with it.
func (m *moved) bearer(t *testing.T, s section) jose.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a token service"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s.put("cert", put(t, "auth.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// token is one of that service, for all that is pushed and pulled.
func (m *moved) token(t *testing.T, signer jose.Signer) string {
	t.Helper()
	var access []map[string]any
	for _, repository := range m.repositories {
		access = append(access, map[string]any{"type": "repository", "name": repository, "actions": []string{"pull", "push"}})
	}
	now := time.Now()
	text, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": "a token service", "sub": "somebody", "aud": m.config.text("http", "auth", "bearer", "service"),
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(), "access": access,
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	m.secrets = append(m.secrets, text)
	return text
}

// visitors are all who may push, by each way to log in that is built; and nobody, where everybody may.
func (m *moved) visitors(t *testing.T, closed bool) (all []visitor) {
	t.Helper()
	for _, who := range m.people.known {
		if m.people.pusher == "" || who.name == m.people.pusher || who.name == member {
			all = append(all, who)
		}
	}
	if built(m.config, "http.auth.bearer") {
		all = append(all, visitor{token: m.token(t, m.people.signer), with: m})
	}
	if !closed {
		all = append(all, visitor{with: m})
	}
	if len(all) == 0 && slices.ContainsFunc(notBuilt(), func(path string) bool { return strings.HasPrefix(path, "http.auth.") }) {
		t.Log("nobody can log in yet")
	} else if len(all) == 0 {
		t.Error("nobody can push")
	}
	return all
}

// guess sends a wrong password meanwhile, since the answer to that takes as long as the example says.
func (m *moved) guess(t *testing.T, n *harness.Node) (wait func(t *testing.T)) {
	t.Helper()
	if len(m.people.known) == 0 {
		return func(*testing.T) {}
	}
	const password = "a wrong guess at a password"
	m.secrets = append(m.secrets, password)
	answered := make(chan error, 1)
	request := visits(t, n, "/v2/", visitor{name: "someone else", password: password})
	go func() { // waited for below
		answered <- asks(n, request, http.StatusUnauthorized, nil)
	}()
	return func(t *testing.T) {
		t.Helper()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}
