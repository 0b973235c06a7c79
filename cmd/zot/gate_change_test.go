package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/openid"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// phoneBook is an LDAP server that knows whoever is asked for, by any password.
type phoneBook struct {
	config.LDAP // how to reach it

	open  atomic.Int32 // connections
	binds atomic.Int32
}

// newPhoneBook serves until the test ends.
func newPhoneBook(t *testing.T) *phoneBook {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is there at once
	if err != nil {
		t.Fatal(err)
	}
	d := &phoneBook{LDAP: config.LDAP{
		Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Insecure: true, BaseDN: "dc=example", UserAttribute: "uid",
	}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.open.Add(1)
			serving.Go(func() {
				defer d.open.Add(-1)
				defer c.Close() //nolint:errcheck // its client has gone
				d.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait() // which a connection holds up that is left
	})
	return d
}

func (d *phoneBook) serve(c net.Conn) {
	const bind, unbind, search = 0, 2, 3
	for r := bufio.NewReader(c); ; {
		p, err := ber.ReadPacket(r)
		if err != nil {
			return
		}
		id := byte(p.Children[0].Value.(int64)) //nolint:forcetypeassert // a small number, by the protocol
		done := func(tag byte) { _, _ = c.Write([]byte{0x30, 12, 2, 1, id, tag, 7, 10, 1, 0, 4, 0, 4, 0}) }
		switch int(p.Children[1].Tag) {
		case bind:
			d.binds.Add(1)
			done(0x61)
		case search:
			_, _ = c.Write([]byte{0x30, 12, 2, 1, id, 0x64, 7, 4, 3, 'd', 'c', '=', 0x30, 0})
			done(0x65)
		case unbind:
			return
		}
	}
}

// gateOf is a gate with a log that is thrown away.
func gateOf(t *testing.T, a config.Auth) *gate {
	t.Helper()
	g, err := openGate(config.Config{HTTP: config.HTTP{Auth: a}}, &people{}, [][]byte{[]byte(line("a"))}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// becomes has the gate go by another configuration.
func (g *gate) becomes(t *testing.T, a config.Auth) {
	t.Helper()
	d, err := g.prepare(config.Config{HTTP: config.HTTP{Auth: a}})
	if err != nil {
		t.Fatal(err)
	}
	d.take()
}

// lets asks the gate for somebody.
func (g *gate) lets(t *testing.T, name, password string) error {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/", http.NoBody)
	r.SetBasicAuth(name, password)
	_, err := g.Gate().Identify(r)
	return err
}

func (g *gate) letsIn(t *testing.T, name, password string) {
	t.Helper()
	if err := g.lets(t, name, password); err != nil {
		t.Errorf("%s with %q: %v", name, password, err)
	}
}

func (g *gate) keepsOut(t *testing.T, name, password string) {
	t.Helper()
	if err := g.lets(t, name, password); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("%s with %q: %v", name, password, err)
	}
}

// What a configuration leaves as it is goes on, with all that it remembers; what it takes away lets in nobody any more.
func TestGateChanges(t *testing.T) {
	t.Parallel()
	passwords, d := filepath.Join(t.TempDir(), "htpasswd"), newPhoneBook(t)
	put(t, passwords, htpasswdLine(t, "bob"))
	g := gateOf(t, config.Auth{LDAP: &d.LDAP, Htpasswd: passwords})
	g.letsIn(t, "alice", "any")
	asked := d.binds.Load()
	same := d.LDAP
	g.becomes(t, config.Auth{LDAP: &same, Htpasswd: passwords, Realm: "another", Access: &access.Config{}})
	g.letsIn(t, "alice", "any")
	if n := d.binds.Load(); n != asked {
		t.Errorf("a server that nothing has changed for was asked anew: %d binds, then %d", asked, n)
	}
	g.becomes(t, config.Auth{Htpasswd: passwords})
	g.keepsOut(t, "alice", "any")
	g.letsIn(t, "bob", "bob")
	eventually(t, "nothing is left of the server", func() bool { return d.open.Load() == 0 })
	g.becomes(t, config.Auth{LDAP: &d.LDAP})
	g.letsIn(t, "bob", "of LDAP")
	g.close()
}

// What cannot be made ready changes nothing.
func TestGateThatCannotBe(t *testing.T) {
	t.Parallel()
	d := newPhoneBook(t)
	g := gateOf(t, config.Auth{LDAP: &d.LDAP})
	g.letsIn(t, "alice", "any")
	other := d.LDAP
	other.UserFilter = "(objectClass=person)"
	for name, a := range map[string]config.Auth{
		"no file":    {LDAP: &other, Htpasswd: "/nowhere"},
		"no rules":   {LDAP: &other, Access: &access.Config{Repositories: map[string]access.Repository{"[": {}}}},
		"no account": {LDAP: &config.LDAP{Address: "127.0.0.1", UserAttribute: "uid", CredentialsFile: "/nowhere"}},
	} {
		if _, err := g.prepare(config.Config{HTTP: config.HTTP{Auth: a}}); err == nil {
			t.Errorf("%s: it is ready", name)
		}
		asked := d.binds.Load()
		if g.letsIn(t, "alice", "any"); d.binds.Load() != asked {
			t.Errorf("%s: the server was asked anew", name)
		}
	}
	ready, err := g.prepare(config.Config{HTTP: config.HTTP{Auth: config.Auth{LDAP: &other}}})
	if err != nil {
		t.Fatal(err)
	}
	ready.discard()
	g.letsIn(t, "alice", "any")
	g.close()
}

// Of a hundred servers, one after the other, no connection is left.
func TestGateOverAndOver(t *testing.T) {
	t.Parallel()
	d := newPhoneBook(t)
	g := gateOf(t, config.Auth{LDAP: &d.LDAP})
	for i := range 100 {
		other := d.LDAP
		other.UserFilter = fmt.Sprintf("(employeeNumber=%d)", i)
		g.becomes(t, config.Auth{LDAP: &other})
		g.letsIn(t, "alice", fmt.Sprint(i))
	}
	eventually(t, "one connection is left", func() bool { return d.open.Load() <= 1 })
	g.close()
	eventually(t, "none is left", func() bool { return d.open.Load() == 0 })
}

// A change of the files of passwords is looked for in those of the configuration that holds.
func TestGateWatchesItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	put(t, first, htpasswdLine(t, "alice"))
	put(t, second, htpasswdLine(t, "alice"))
	g := gateOf(t, config.Auth{Htpasswd: first})
	g.becomes(t, config.Auth{Htpasswd: second})
	g.letsIn(t, "alice", "alice")
	put(t, second, htpasswdLine(t, "bob"))
	for _, m := range g.methods {
		m.look(true, g.log)
	}
	g.keepsOut(t, "alice", "alice")
	g.letsIn(t, "bob", "bob")
}

// Providers come and go with the configuration, and those of which it says the same are the same.
func TestGateChangesProviders(t *testing.T) {
	t.Parallel()
	with := func(id string) config.Auth {
		return config.Auth{OpenID: &config.OpenID{Providers: []config.OpenIDProvider{{Provider: openid.Provider{Name: openid.GitHub, ClientID: id, ClientSecret: "secret"}}}}}
	}
	logins := func(g *gate) *openid.Logins {
		if len(g.methods) != 1 {
			t.Fatalf("there are %d methods", len(g.methods))
		}
		return g.methods[0].openID
	}
	g := gateOf(t, config.Auth{})
	if g.Gate().HasOpenID() {
		t.Error("there are providers that nobody has named")
	}
	g.becomes(t, with("one"))
	first := logins(g)
	if !g.Gate().HasOpenID() || first == nil {
		t.Error("there are no providers")
	}
	if err := g.rotate([][]byte{[]byte(line("b"))}); err != nil {
		t.Error(err)
	}
	same := with("one")
	same.Realm = "another"
	if g.becomes(t, same); logins(g) != first {
		t.Error("what has not changed is made anew")
	}
	if g.becomes(t, with("two")); logins(g) == first {
		t.Error("what has changed is as it was")
	}
	g.becomes(t, config.Auth{})
	if g.Gate().HasOpenID() || len(g.methods) > 0 {
		t.Error("providers are left")
	}
	g.close()
}
