package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// users are entries, and groups what a client adds to them. Each password is "of " and the name.
const (
	users = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: cn=zot,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: zot
userPassword: the account's own

dn: ou=Users,dc=example,dc=org
objectClass: organizationalUnit
ou: Users

dn: ou=Far,ou=Users,dc=example,dc=org
objectClass: organizationalUnit
ou: Far

dn: ou=Groups,dc=example,dc=org
objectClass: organizationalUnit
ou: Groups

dn: uid=alice,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: alice
sn: a
userPassword: of alice

dn: uid=bob,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: bob
sn: b
userPassword: of bob

dn: uid=eve,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: eve
cn: eve
sn: e
userPassword: of eve

dn: uid=far,ou=Far,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: far
cn: far
sn: f
userPassword: of far

dn: uid=robot,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: robot
cn: robot
sn: r
employeeType: gone
userPassword: of robot

dn: cn=star,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: *(o\ne)=
cn: star
sn: s
userPassword: of *(o\ne)=

dn: cn=twin 1,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin
cn: twin 1
sn: t
userPassword: of twin

dn: cn=twin 2,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin
cn: twin 2
sn: t
userPassword: of twin
`
	groups = `dn: cn=devs,ou=Groups,dc=example,dc=org
objectClass: groupOfNames
cn: devs
member: uid=alice,ou=Users,dc=example,dc=org
`
)

// directoryOf is the section "ldap" of who reaches a server so.
func directoryOf(port int, more map[string]any) map[string]any {
	section := map[string]any{
		"address": "127.0.0.1", "port": port, "baseDN": "ou=Users," + harness.DirectoryBase, "userAttribute": "uid", "userGroupAttribute": "memberOf",
		"userFilter": "(!(employeeType=gone))", "bindDN": harness.DirectoryAccount, "bindPassword": harness.DirectoryPassword,
	}
	maps.Copy(section, more)
	return section
}

// guarded is a node whose users are in LDAP, and carol in a file.
func guarded(t *testing.T, section map[string]any) harness.Plan {
	t.Helper()
	p := withPasswords(t)
	auth := p.HTTP["auth"].(map[string]any)
	auth["ldap"], auth["apikey"] = section, true
	return p
}

// withPasswords is a node that knows carol.
func withPasswords(t *testing.T) harness.Plan {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("of carol"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(passwords, []byte("carol:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return harness.Plan{HTTP: map[string]any{
		"auth": map[string]any{"htpasswd": map[string]any{"path": passwords}},
		"accessControl": map[string]any{"repositories": map[string]any{"**": map[string]any{
			"policies": []any{map[string]any{
				"groups": []string{"cn=devs,ou=Groups," + harness.DirectoryBase}, "actions": []string{"read", "create", "update"},
			}},
			"defaultPolicy": []string{"read"},
		}}},
	}}
}

// login asks for the base endpoint with a name and a password.
func login(ctx context.Context, n *harness.Node, name, password string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL("/v2/"), http.NoBody)
	if err != nil {
		return 0, err
	}
	r.SetBasicAuth(name, password)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // it is not read
	if answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") == "" {
		return 0, fmt.Errorf("429 without Retry-After")
	}
	return answer.StatusCode, nil
}

func logsIn(t *testing.T, n *harness.Node, name, password string, want int) {
	t.Helper()
	if got, err := login(t.Context(), n, name, password); err != nil || got != want {
		t.Errorf("%s: %s with %q: %d, %v; want %d", n.Name, name, password, got, err, want)
	}
}

// comesToLogIn waits until somebody can.
func comesToLogIn(t *testing.T, n *harness.Node, name string) {
	t.Helper()
	harness.Until(t, n.Name+" lets "+name+" in", func(ctx context.Context) error {
		got, err := login(ctx, n, name, "of "+name)
		if err == nil && got != http.StatusOK {
			err = fmt.Errorf("%d", got)
		}
		return err
	})
}

// TestLDAP has three nodes, each of which reaches the same OpenLDAP in another way.
func TestLDAP(t *testing.T) {
	d := harness.StartDirectory(t, users, groups)
	line := harness.NewLine(t, d.Port)
	nodes := harness.StartEach(t,
		guarded(t, directoryOf(d.TLSPort, map[string]any{"cacert": d.CA})),
		guarded(t, directoryOf(d.Port, map[string]any{"cacert": d.CA, "insecure": true, "startTLS": true})),
		guarded(t, directoryOf(line.Port, map[string]any{"insecure": true, "subtreeSearch": true})),
	)
	for _, n := range nodes {
		for _, name := range []string{"alice", "bob", `*(o\ne)=`, "carol"} {
			logsIn(t, n, name, "of "+name, http.StatusOK)
		}
		logsIn(t, n, "ALICE", "of alice", http.StatusOK)
		logsIn(t, n, "bob", "of alice", http.StatusUnauthorized)
		logsIn(t, n, "bob", "", http.StatusUnauthorized)
		logsIn(t, n, "robot", "of robot", http.StatusUnauthorized) // whom the filter leaves out
		logsIn(t, n, "nobody", "of nobody", http.StatusUnauthorized)
		logsIn(t, n, "twin", "of twin", http.StatusUnauthorized) // of which there are two
		for _, name := range []string{"*", "ali*", `)(uid=*`, `alice)(objectClass=*`, `alice\29`, " alice", "alice ", "alice\x00"} {
			logsIn(t, n, name, "of alice", http.StatusUnauthorized)
		}
	}
	logsIn(t, nodes[0], "far", "of far", http.StatusUnauthorized)
	logsIn(t, nodes[2], "far", "of far", http.StatusOK)
	dockerLogins(t, nodes)
	backsOff(t, nodes[1])
	key := apiKey(t, nodes[0].Address)

	for _, n := range nodes {
		logsIn(t, n, "eve", "of eve", http.StatusOK) // for the first time
	}
	d.Kill(t)
	for _, n := range nodes {
		logsIn(t, n, "eve", "of eve", http.StatusOK) // remembered, for a minute
	}
	for _, n := range nodes {
		logsIn(t, n, "carol", "of carol", http.StatusOK)
		logsIn(t, n, "carol", "of alice", http.StatusServiceUnavailable) // LDAP may know a carol
		logsIn(t, n, "late", "of late", http.StatusServiceUnavailable)
		withKey(t, n, key)
	}
	d.Serve(t)
	for _, n := range nodes {
		comesToLogIn(t, n, "bob")
	}

	line.Delay(200 * time.Millisecond) // an answer takes twice that, and a step may take 5 s
	logsIn(t, nodes[2], "far", "of bob", http.StatusUnauthorized)
	logsIn(t, nodes[2], "far", "of far", http.StatusOK)
	line.Delay(0)
	line.Stall()
	logsIn(t, nodes[2], "late", "of late", http.StatusServiceUnavailable)
	for range 3 {
		_, _ = login(t.Context(), nodes[2], "later", "of later")
	}
	logsIn(t, nodes[2], "carol", "of carol", http.StatusOK)
	line.Flow()
	comesToLogIn(t, nodes[2], "bob")
	harness.Until(t, "who is unknown is told so again", func(ctx context.Context) error {
		got, err := login(ctx, nodes[2], "late", "of late")
		if err == nil && got != http.StatusUnauthorized {
			err = fmt.Errorf("%d", got)
		}
		return err
	})
}

// saysWhy sees to it that a node has said for what reason its directory is of no use, in a warning, and no password.
func saysWhy(t *testing.T, n *harness.Node, why string) {
	t.Helper()
	log, warned := n.Log(t), false
	for line := range strings.Lines(log) {
		warned = warned || strings.Contains(line, `level":"warn"`) && strings.Contains(line, "LDAP") && strings.Contains(line, why)
	}
	if !warned {
		t.Errorf("%s warns of nothing with %q", n.Name, why)
	}
	for _, secret := range []string{"of alice", harness.DirectoryPassword} {
		if strings.Contains(log, secret) {
			t.Errorf("%s logs the password %q", n.Name, secret)
		}
	}
}

// withKey has a node asked by an API key of alice, whose groups were found when she made it: nobody asks the directory.
func withKey(t *testing.T, n *harness.Node, key string) {
	t.Helper()
	one, _ := onePlatform(t, 950, 1000)
	name := "docker://" + n.Address + "/team/key:" + n.Name
	skopeo(t, "copy", "--dest-tls-verify=false", "--dest-creds", "alice:"+key, "oci:"+one.Dir+":one", name)
	skopeo(t, "inspect", "--tls-verify=false", "--creds", "alice:"+key, name)
}

// A node starts also while its directory does not answer, lets in whom it knows otherwise, and the others when it does.
func TestLDAPThatComesLater(t *testing.T) {
	d := harness.StartDirectory(t, users, groups)
	d.Kill(t)
	n := harness.StartEach(t, guarded(t, directoryOf(d.TLSPort, map[string]any{"cacert": d.CA})))[0]
	logsIn(t, n, "alice", "of alice", http.StatusServiceUnavailable)
	logsIn(t, n, "carol", "of carol", http.StatusOK)
	d.Serve(t)
	comesToLogIn(t, n, "alice")
}

// dockerLogins logs in at each node, pushes to the first and pulls from the last.
func dockerLogins(t *testing.T, nodes []*harness.Node) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	engine := harness.StartEngine(t)
	for _, n := range nodes {
		engine.Feed(t, strings.NewReader("of alice"), "login", "--username", "alice", "--password-stdin", n.Address)
	}
	name := nodes[0].Address + "/team/app:1"
	part := images.Part{Seed: 900, Size: 1 << 20}
	id := load(t, engine, name, 0, part)
	engine.Run(t, "push", name)
	from := nodes[2].Address + "/team/app:1"
	engine.Run(t, "pull", from)
	holds(t, engine, from, id, part)
	engine.Forget(t, from)
	for _, n := range nodes {
		engine.Feed(t, strings.NewReader("of bob"), "login", "--username", "bob", "--password-stdin", n.Address)
	}
	if err := engine.Try(t, "push", name); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("bob, who is in no group, pushed: %v", err)
	}
	engine.Run(t, "logout", nodes[0].Address)
	if err := engine.Try(t, "pull", name); err == nil {
		t.Error("nobody pulled")
	}
}

// backsOff guesses.
func backsOff(t *testing.T, n *harness.Node) {
	t.Helper()
	for range 5 {
		logsIn(t, n, "far", "guess", http.StatusUnauthorized)
	}
	harness.Until(t, "who guesses has to wait", func(ctx context.Context) error { // a second after the fifth, and longer after each that comes later
		got, err := login(ctx, n, "far", "guess")
		if err == nil && got != http.StatusTooManyRequests {
			err = fmt.Errorf("%d", got)
		}
		return err
	})
	logsIn(t, n, "bob", "of bob", http.StatusOK)
}

// TestLDAPOfAnother has a server that shows another certificate than it should: nobody is told a password.
func TestLDAPOfAnother(t *testing.T) {
	d := harness.StartDirectory(t, users, groups)
	other, _ := harness.Certificate(t, "127.0.0.1")
	for name, test := range map[string]struct {
		section map[string]any
		why     string
	}{
		"LDAPS":              {directoryOf(d.TLSPort, map[string]any{"cacert": other}), "unknown authority"},
		"StartTLS":           {directoryOf(d.Port, map[string]any{"cacert": other, "insecure": true, "startTLS": true}), "unknown authority"},
		"the system's CAs":   {directoryOf(d.TLSPort, nil), "unknown authority"},
		"TLS where is none":  {directoryOf(d.Port, map[string]any{"cacert": d.CA}), "TLS"},
		"a wrong account":    {directoryOf(d.TLSPort, map[string]any{"cacert": d.CA, "bindPassword": "wrong"}), "Invalid Credentials"},
		"a base that is not": {directoryOf(d.TLSPort, map[string]any{"cacert": d.CA, "baseDN": "ou=None," + harness.DirectoryBase}), "No Such Object"},
	} {
		t.Run(name, func(t *testing.T) {
			n := harness.StartEach(t, guarded(t, test.section))[0]
			logsIn(t, n, "alice", "of alice", http.StatusServiceUnavailable)
			logsIn(t, n, "carol", "of carol", http.StatusOK)
			for range 2 { // after three in a row it is said to who does not read each refusal, too
				logsIn(t, n, "alice", "of alice", http.StatusServiceUnavailable)
			}
			saysWhy(t, n, test.why)
		})
	}
	n := harness.StartEach(t, guarded(t, directoryOf(d.TLSPort, map[string]any{"skipVerify": true})))[0]
	logsIn(t, n, "alice", "of alice", http.StatusOK)
}
