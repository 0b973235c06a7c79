package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/htpasswd"
	"github.com/seed-16d79997/zot/auth/ldap"
	"github.com/seed-16d79997/zot/auth/openid"
	"github.com/seed-16d79997/zot/auth/token"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// passwordsPoll is how often changed files of passwords are looked for. Mounted ones change without a signal.
const passwordsPoll = 5 * time.Second

// gate is who clients are and what they may do, by this node's configuration.
type gate struct {
	auth.Current

	known  *people
	tokens *token.Signer // for the token service, if there is one
	asked  chan struct{}
	log    hclog.Logger

	mu      sync.Mutex
	lines   [][]byte  // of the secret
	methods []*method // of the configuration that holds
}

// method is a way to log in that is made of files, which may change. It is used on by all configurations that say the same of
// it, so that who was let in by it stays known.
type method struct {
	knows    auth.Method      // nil: it knows no passwords
	openID   *openid.Logins   // nil: it is another
	bearer   *bearer.Verifier // nil: it is another
	key      string           // of the section that it is made of
	settings any              // what that says
	what     string           // is what its files are called
	// reload reads the files again and reports whether they have changed. If one is unusable what was read before holds.
	// nil: there are none.
	reload func() (changed bool, err error)
	close  func() // gives back what it holds, when nobody new asks it any more
	said   string // why its files were unusable when they were last looked at
}

// openGate fails if a file cannot be used that the configuration names. The caller closes the gate.
func openGate(c config.Config, known *people, lines [][]byte, log hclog.Logger) (*gate, error) {
	seeds, err := sharedKeys(lines, "zot tokens")
	if err != nil {
		return nil, err
	}
	g := &gate{known: known, asked: make(chan struct{}, 1), log: log, lines: lines}
	if g.tokens, err = token.New(seeds); err != nil {
		return nil, err
	}
	d, err := g.prepare(c)
	if err != nil {
		return nil, err
	}
	d.take()
	return g, nil
}

// prepare makes ready what a configuration says. It fails as openGate.
func (g *gate) prepare(c config.Config) (draft, error) {
	methods, err := g.open(c.HTTP.Auth)
	if err != nil {
		return draft{}, err
	}
	d, err := g.config(c, methods)
	if err != nil {
		g.closeAllBut(methods, g.methods)
		return draft{}, err
	}
	return draft{
		take: func() {
			g.mu.Lock()
			before, lines := g.methods, g.lines
			g.methods = methods
			g.mu.Unlock()
			if err := rotateLogins(methods, lines); err != nil { // the secret may have changed since they were made
				g.log.Error("logins go by an old secret", "error", err)
			}
			g.Change(d)
			g.closeAllBut(before, methods)
		},
		discard: func() { g.closeAllBut(methods, g.methods) },
	}, nil
}

// config is the configuration in the words of package auth.
func (g *gate) config(c config.Config, methods []*method) (auth.Config, error) {
	a, t := c.HTTP.Auth, c.HTTP.TLS
	d := auth.Config{
		Realm: a.Realm, FailDelay: a.FailDelay, MustCertify: t.ClientMust,
		Proxies: c.Cluster.TrustedProxies, ExternalURL: c.HTTP.ExternalURL, Origins: c.HTTP.Origins, Logger: g.log,
	}
	if a.Access != nil {
		asked := *a.Access
		asked.Logger = g.log
		rules, err := access.Compile(asked)
		if err != nil {
			return d, fmt.Errorf("http.accessControl: %w", err)
		}
		d.Rules = rules
	}
	if a.Bearer == nil && t.Certifies() {
		d.Certificates = a.MTLS.Certificates()
	}
	for _, m := range methods {
		switch {
		case m.bearer != nil:
			d.Bearer = m.bearer
		case m.openID != nil:
			d.OpenID = m.openID
		default:
			d.Methods = append(d.Methods, m.knows)
		}
	}
	if a.Half {
		d.Methods = append(d.Methods, half{})
	}
	if a.LogsIn() && a.Bearer == nil {
		d.Sessions, d.SecureCookies = g.known, a.SecureCookies
		d.Tokens = g.tokens
	}
	if a.APIKeys {
		d.Keys = g.known
	}
	return d, nil
}

// open returns the methods of a configuration, in the order in which they are asked.
func (g *gate) open(a config.Auth) (all []*method, err error) {
	add := func(key string, settings any, open func() (*method, error)) {
		if err != nil {
			return
		}
		if i := slices.IndexFunc(g.methods, func(m *method) bool { return m.key == key && reflect.DeepEqual(m.settings, settings) }); i >= 0 {
			all = append(all, g.methods[i])
			return
		}
		var m *method
		if m, err = open(); err != nil {
			err = fmt.Errorf("%s: %w", key, err)
			return
		}
		m.key, m.settings = key, settings
		all = append(all, m)
	}
	if a.LDAP != nil {
		add("http.auth.ldap", *a.LDAP, func() (*method, error) { return g.openLDAP(*a.LDAP) })
	}
	if a.Htpasswd != "" {
		add("http.auth.htpasswd.path", a.Htpasswd, func() (*method, error) { return g.openHtpasswd(a.Htpasswd) })
	}
	if a.OpenID != nil {
		add("http.auth.openid", *a.OpenID, func() (*method, error) { return g.openOpenID(*a.OpenID) })
	}
	if a.Bearer != nil {
		add("http.auth.bearer", *a.Bearer, func() (*method, error) { return g.openBearer(*a.Bearer) })
	}
	if err != nil {
		g.closeAllBut(all, g.methods)
	}
	return all, err
}

func (g *gate) openBearer(c config.Bearer) (*method, error) {
	var former *bearer.Verifier
	for _, m := range g.methods {
		if m.bearer != nil {
			former = m.bearer
		}
	}
	v, err := bearer.Open(bearer.Config{
		Realm: c.Realm, Service: c.Service, KeyFile: c.Cert, Secret: c.Secret, Issuers: c.OIDC, Upstream: c.Upstream,
		Former: former, Logger: g.log.Named("bearer"),
	})
	if err != nil {
		return nil, err
	}
	return &method{bearer: v, what: "file of http.auth.bearer", reload: v.Reload, close: v.Close}, nil
}

func (g *gate) openLDAP(c config.LDAP) (*method, error) {
	server, err := ldap.Open(ldapConfig(c, g.log.Named("ldap")))
	if err != nil {
		return nil, err
	}
	return &method{knows: server, what: "file of http.auth.ldap", reload: server.Reload, close: server.Close}, nil
}

func (g *gate) openHtpasswd(path string) (*method, error) {
	file, notes, err := htpasswd.Open(path)
	if err != nil {
		return nil, err
	}
	g.note(notes)
	reload := func() (bool, error) {
		changed, notes, err := file.Reload()
		g.note(notes)
		return changed, err
	}
	return &method{knows: file, what: "htpasswd file", reload: reload, close: func() {}}, nil
}

func (g *gate) openOpenID(c config.OpenID) (*method, error) {
	g.mu.Lock()
	lines := g.lines
	g.mu.Unlock()
	seeds, err := sharedKeys(lines, "zot login")
	if err != nil {
		return nil, err
	}
	logins, err := openProviders(c, seeds, g.log.Named("openid"))
	if err != nil {
		return nil, err
	}
	return &method{openID: logins, what: "file of http.auth.openid", reload: logins.Reload, close: logins.Close}, nil
}

// closeAllBut closes those methods that are not among the others.
func (*gate) closeAllBut(all, others []*method) {
	for _, m := range all {
		if !slices.Contains(others, m) {
			m.close()
		}
	}
}

// close gives back what the gate holds. Nobody asks it any more.
func (g *gate) close() { g.closeAllBut(g.methods, nil) }

func ldapConfig(c config.LDAP, log hclog.Logger) ldap.Config {
	return ldap.Config{
		Address: c.Address, Port: c.Port, Insecure: c.Insecure, StartTLS: c.StartTLS, SkipVerify: c.SkipVerify, CAFile: c.CACert,
		Account: ldap.Account{DN: c.BindDN, Password: c.BindPassword}, CredentialsFile: c.CredentialsFile,
		BaseDN: c.BaseDN, Subtree: c.Subtree, UserAttribute: c.UserAttribute, UserFilter: c.UserFilter, GroupAttribute: c.GroupAttribute,
		Logger: log,
	}
}

// half is a method that is configured by half: it must not leave open what it is to close.
type half struct{}

// Verify knows nobody.
func (half) Verify(context.Context, string, string) ([]string, error) { return nil, auth.ErrUnknown }

func (g *gate) note(notes []htpasswd.Note) {
	for _, n := range notes {
		g.log.Warn("line of the htpasswd file is left out", "line", n.Line, "why", n.Text)
	}
}

// rotate takes new lines of the secret into use.
func (g *gate) rotate(lines [][]byte) error {
	seeds, err := sharedKeys(lines, "zot tokens")
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.lines = lines
	methods := g.methods
	g.mu.Unlock()
	return errors.Join(g.tokens.Rotate(seeds), rotateLogins(methods, lines))
}

// rotateLogins is rotate for those with OpenID Connect that are under way.
func rotateLogins(methods []*method, lines [][]byte) error {
	seeds, err := sharedKeys(lines, "zot login")
	for _, m := range methods {
		if m.openID != nil && err == nil {
			err = m.openID.Rotate(seeds)
		}
	}
	return err
}

// reload has the files of passwords looked at now.
func (g *gate) reload() { wake(g.asked) }

// watch takes new passwords until ctx ends. What cannot be read changes nothing, and is said once.
func (g *gate) watch(ctx context.Context) error {
	poll := time.NewTicker(passwordsPoll)
	defer poll.Stop()
	for {
		again := false
		select {
		case <-ctx.Done():
			return nil
		case <-g.asked:
			again = true
		case <-poll.C:
		}
		g.mu.Lock()
		methods := g.methods
		g.mu.Unlock()
		for _, m := range methods {
			m.look(again, g.log)
		}
	}
}

// look reads the files of a method again. Why they are unusable is said once, and again to who asks.
func (m *method) look(again bool, log hclog.Logger) {
	changed, err := m.reload()
	switch {
	case err == nil:
		m.said = ""
	case again || m.said != err.Error():
		m.said = err.Error()
		log.Warn(m.what+" is unusable, what was read before holds", "error", err)
	}
	if changed {
		log.Info(m.what + " changed")
	}
}
