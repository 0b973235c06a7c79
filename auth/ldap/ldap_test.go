package ldap_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/ldap"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	searcher = "cn=searcher,dc=example"
	admins   = "cn=admins,ou=Groups,dc=example"
)

func people(t testing.TB) *directory {
	t.Helper()
	return &directory{t: t, account: [2]string{searcher, "of the searcher"}, entries: map[string]entry{
		"uid=alice,ou=Users,dc=example": {"secret", map[string][]string{"uid": {"alice", "al"}, "memberof": {admins, "devs"}}},
		"uid=bob,ou=Users,dc=example":   {"b", map[string][]string{"uid": {"bob"}}},
		"uid=star,ou=Users,dc=example":  {"s", map[string][]string{"uid": {"*"}}},
		"cn=1,ou=Users,dc=example":      {"t", map[string][]string{"uid": {"twin"}}},
		"cn=2,ou=Users,dc=example":      {"t", map[string][]string{"uid": {"twin"}}},
		"":                              {"", map[string][]string{"uid": {"nameless"}}},
	}}
}

func opened(t testing.TB, port int, change func(*ldap.Config)) *ldap.Server {
	t.Helper()
	c := ldap.Config{
		Address: "127.0.0.1", Port: port, Insecure: true, Account: ldap.Account{DN: searcher, Password: "of the searcher"},
		BaseDN: "ou=Users,dc=example", UserAttribute: "uid", GroupAttribute: "memberOf",
	}
	change(&c)
	s, err := ldap.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func same(*ldap.Config) {}

func wants(t *testing.T, s *ldap.Server, name, password string, want error, groups ...string) {
	t.Helper()
	got, err := s.Verify(t.Context(), name, password)
	if !errors.Is(err, want) || !slices.Equal(got, groups) {
		t.Errorf("%q with %q: %v, groups %q; want %v, %q", name, password, err, got, want, groups)
	}
}

// fails wants an answer that says neither yes nor no, and nothing of a password.
func fails(t *testing.T, s *ldap.Server, name, password, why string) {
	t.Helper()
	_, err := s.Verify(t.Context(), name, password)
	if err == nil || errors.Is(err, auth.ErrUnknown) || errors.Is(err, auth.ErrWrong) || !strings.Contains(err.Error(), why) {
		t.Errorf("%q: %v, want an error with %q", name, err, why)
	}
	if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "of the searcher")) {
		t.Errorf("a password is in %q", err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), same)
	wants(t, s, "alice", "secret", nil, admins, "devs")
	wants(t, s, "ALICE", "secret", nil, admins, "devs") // as LDAP has it
	wants(t, s, "al", "secret", nil, admins, "devs")
	wants(t, s, "bob", "b", nil)
	wants(t, s, "alice", "Secret", auth.ErrWrong)
	wants(t, s, "nobody", "secret", auth.ErrUnknown)
	wants(t, s, "twin", "t", auth.ErrUnknown)
	if d.heard("bind "+searcher) != 1 {
		t.Errorf("the account was bound %d times, by %q", d.heard("bind "+searcher), d.said)
	}
}

// A server lets in, as nobody, whoever binds without a password, or without a name.
func TestNothingIsNoPassword(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), same)
	wants(t, s, "alice", "", auth.ErrUnknown)
	wants(t, s, "", "secret", auth.ErrUnknown)
	if len(d.said) > 0 {
		t.Errorf("the server was asked: %q", d.said)
	}
	wants(t, s, "nameless", "any", auth.ErrUnknown)
}

func TestNamesThatAreFilters(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), func(c *ldap.Config) { c.UserFilter = "objectClass=person" })
	for name, filter := range map[string]string{
		`al*`:            `(&(uid=al\2a)(objectClass=person))`,
		`)(uid=*`:        `(&(uid=\29\28uid=\2a)(objectClass=person))`,
		`a\2a`:           `(&(uid=a\5c2a)(objectClass=person))`,
		"a\x00":          `(&(uid=a\00)(objectClass=person))`,
		"alice\xff":      `(&(uid=alice\ff)(objectClass=person))`,
		"alice)(|(uid=*": `(&(uid=alice\29\28|\28uid=\2a)(objectClass=person))`,
	} {
		wants(t, s, name, "secret", auth.ErrUnknown)
		if got := d.searched[len(d.searched)-1]; got != filter {
			t.Errorf("%q was looked for by %s, want %s", name, got, filter)
		}
	}
	wants(t, s, "*", "s", nil)
	wants(t, s, "*", "secret", auth.ErrWrong)
}

// To a server "alice " is alice; to the rules it is another.
func TestSpaces(t *testing.T) {
	t.Parallel()
	d := people(t)
	d.entries["uid=spaced,ou=Users,dc=example"] = entry{"x", map[string][]string{"uid": {" carol"}}}
	s := opened(t, d.starts(false), same)
	wants(t, s, "carol", "x", auth.ErrUnknown)
}

// An unknown name costs the server what a known one does, but neither name nor password is told.
func TestUnknownNamesBind(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), same)
	wants(t, s, "nobody", "secret", auth.ErrUnknown)
	if d.heard("bind cn=") != 2 || d.heard("bind cn=nobody") != 0 || !strings.HasSuffix(d.said[1], ",ou=Users,dc=example") {
		t.Errorf("the server was asked: %q", d.said)
	}
}

func TestAnonymousSearch(t *testing.T) {
	t.Parallel()
	d := people(t)
	d.account = [2]string{}
	s := opened(t, d.starts(false), func(c *ldap.Config) { c.Account = ldap.Account{} })
	wants(t, s, "bob", "b", nil)
	if !slices.Equal(d.said, []string{"bind uid=bob,ou=Users,dc=example"}) {
		t.Errorf("the server was asked: %q", d.said)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	d := people(t)
	port := d.starts(false)
	wrong := opened(t, port, func(c *ldap.Config) { c.Account.Password = "another" })
	fails(t, wrong, "alice", "secret-of-hers", `bind as "`+searcher+`"`)
	s := opened(t, port, same)
	wants(t, s, "bob", "b", nil)
	for code, want := range map[uint16]string{
		goldap.LDAPResultBusy: "Busy", goldap.LDAPResultUnavailable: "Unavailable", goldap.LDAPResultNoSuchObject: "No Such Object",
	} {
		d.mu.Lock()
		d.answer = code
		d.mu.Unlock()
		s := opened(t, port, func(c *ldap.Config) { c.Account = ldap.Account{} })
		fails(t, s, "alice", "secret-of-hers", want)
	}
}

// What was right is known for a minute, and nothing else is.
func TestRecall(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), same)
	wants(t, s, "alice", "secret", nil, admins, "devs")
	wants(t, s, "alice", "Secret", auth.ErrWrong)
	asked := len(d.said)
	if groups, ok := s.Recall("alice", "secret"); !ok || !slices.Equal(groups, []string{admins, "devs"}) {
		t.Errorf("recalled %q, %v", groups, ok)
	}
	for _, other := range [][2]string{{"alice", "Secret"}, {"bob", "secret"}, {"alices", "ecret"}, {"alice", ""}} {
		if _, ok := s.Recall(other[0], other[1]); ok {
			t.Errorf("%q is taken for one who was right", other)
		}
	}
	if len(d.said) != asked {
		t.Errorf("the server was asked: %q", d.said[asked:])
	}
}

// A server hangs up on connections that were idle; nobody notices.
func TestServerHangsUp(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), same)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wants(t, s, "bob", "b", nil) })
	}
	all.Wait()
	if n := d.heard("bind " + searcher); n < 1 || n > 8 {
		t.Errorf("the account has %d connections", n)
	}
	d.hangUp()
	wants(t, s, "bob", "b", nil)
	d.mu.Lock()
	d.drops = 1 // it shows only when something is asked
	d.mu.Unlock()
	wants(t, s, "bob", "b", nil)
	d.mu.Lock()
	d.drops = 10
	d.mu.Unlock()
	fails(t, s, "bob", "of bob", "search below") // one that is new is not tried again
}

func TestServerIsGone(t *testing.T) {
	t.Parallel()
	s := opened(t, 1, same) // no free port, on which another test would listen
	for range 3 {
		fails(t, s, "alice", "secret-of-hers", "connection refused")
	}
	fails(t, s, "alice", "secret-of-hers", "did not answer lately")
}

func TestStartTLS(t *testing.T) {
	t.Parallel()
	d := people(t)
	ca, other := "", ""
	d.tls, ca = certificate(t)
	_, other = certificate(t)
	plain, implicit := d.starts(false), 0
	{
		e := people(t)
		e.tls = d.tls
		implicit = e.starts(true)
	}
	for name, test := range map[string]struct {
		change func(*ldap.Config)
		why    string // "": it succeeds
	}{
		"LDAPS":                    {func(c *ldap.Config) { c.Port, c.Insecure, c.CAFile = implicit, false, ca }, ""},
		"LDAPS, without a check":   {func(c *ldap.Config) { c.Port, c.Insecure, c.SkipVerify = implicit, false, true }, ""},
		"LDAPS, another CA":        {func(c *ldap.Config) { c.Port, c.Insecure, c.CAFile = implicit, false, other }, "certificate signed by unknown authority"},
		"LDAPS, the system's CAs":  {func(c *ldap.Config) { c.Port, c.Insecure = implicit, false }, "certificate"},
		"LDAPS, another name":      {func(c *ldap.Config) { c.Address, c.Port, c.Insecure, c.CAFile = "localhost", implicit, false, ca }, "localhost"},
		"StartTLS":                 {func(c *ldap.Config) { c.Port, c.StartTLS, c.CAFile = plain, true, ca }, ""},
		"StartTLS, another CA":     {func(c *ldap.Config) { c.Port, c.StartTLS, c.CAFile = plain, true, other }, "certificate signed by unknown authority"},
		"StartTLS says nothing":    {func(c *ldap.Config) { c.Port, c.StartTLS, c.Insecure, c.CAFile = implicit, true, false, ca }, ""}, // without insecure
		"plain at a port with TLS": {func(c *ldap.Config) { c.Port = implicit }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := opened(t, plain, test.change)
			switch {
			case name == "plain at a port with TLS":
				fails(t, s, "alice", "secret-of-hers", "ask LDAP server")
			case test.why == "":
				wants(t, s, "alice", "secret", nil, admins, "devs")
			default:
				fails(t, s, "alice", "secret-of-hers", test.why)
			}
		})
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	d := people(t)
	path := filepath.Join(t.TempDir(), "ldap.json")
	put := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"bindDN": "` + searcher + `", "bindPassword": "of the searcher"}`)
	s := opened(t, d.starts(false), func(c *ldap.Config) { c.Account, c.CredentialsFile = ldap.Account{}, path })
	wants(t, s, "bob", "b", nil)
	if changed, err := s.Reload(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	for _, content := range []string{"", "{", `{"bindDN": "cn=x"}`, `{"bindPassword": "hunter2"}`, `{"bindDN": 1, "bindPassword": "hunter2"}`, "{}"} {
		put(content)
		if changed, err := s.Reload(); changed || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, %v", content, changed, err)
		}
	}
	wants(t, s, "bob", "b", nil) // what was read before holds
	put(`{"bindDN": "` + searcher + `", "bindPassword": "an old one"}`)
	if changed, err := s.Reload(); !changed || err != nil {
		t.Errorf("the file has changed: %v, %v", changed, err)
	}
	fails(t, s, "bob", "password-of-bob", "bind as")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]ldap.Config{
		"no filter":          {UserFilter: "(uid="},
		"no password":        {Account: ldap.Account{DN: searcher}},
		"no name":            {Account: ldap.Account{Password: "x"}},
		"no CA file":         {CAFile: empty + "x"},
		"nothing in it":      {CAFile: empty},
		"no credentialsFile": {CredentialsFile: empty + "x"},
		"no attribute":       {UserAttribute: "u)(d"},
	} {
		if c.UserAttribute == "" {
			c.UserAttribute = "uid"
		}
		if _, err := ldap.Open(c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// A login that is under way when the server is closed ends as it should, and leaves no connection behind.
func TestCloseBeforeALoginEnds(t *testing.T) {
	t.Parallel()
	d := people(t)
	s := opened(t, d.starts(false), same)
	wants(t, s, "alice", "secret", nil, admins, "devs")
	s.Close()
	wants(t, s, "bob", "b", nil)
	d.serving.Wait()
}
