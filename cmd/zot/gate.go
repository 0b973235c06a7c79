package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
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

	sources []credentials
	tokens  *token.Signer  // nil: there is no token service
	openID  *openid.Logins // nil: there are no providers
	close   func()         // gives back what the gate holds when nobody asks it any more
	asked   chan struct{}
	log     hclog.Logger
}

// credentials is a method that is made of files, which may change.
type credentials struct {
	what string
	// reload reads the files again and reports whether they have changed. If one is unusable what was read before holds.
	reload func() (changed bool, err error)
}

// openGate fails if a file cannot be used that the configuration names.
func openGate(c config.Config, known *people, lines [][]byte, log hclog.Logger) (*gate, error) {
	g := &gate{asked: make(chan struct{}, 1), close: func() {}, log: log}
	a := c.HTTP.Auth
	d := auth.Config{Realm: a.Realm, FailDelay: a.FailDelay, Certificates: c.HTTP.TLS.ClientCA != "", Proxies: c.Cluster.TrustedProxies, ExternalURL: c.HTTP.ExternalURL, Logger: log}
	if a.Access != nil {
		rules, err := access.Compile(*a.Access)
		if err != nil {
			return nil, fmt.Errorf("http.accessControl: %w", err)
		}
		d.Rules = rules
	}
	if a.LDAP != nil {
		server, err := ldap.Open(ldapConfig(*a.LDAP, log.Named("ldap")))
		if err != nil {
			return nil, fmt.Errorf("http.auth.ldap: %w", err)
		}
		g.close = server.Close
		g.sources = append(g.sources, credentials{"file of http.auth.ldap", server.Reload})
		d.Methods = append(d.Methods, server)
	}
	if a.Htpasswd != "" {
		file, notes, err := htpasswd.Open(a.Htpasswd)
		if err != nil {
			return nil, fmt.Errorf("http.auth.htpasswd.path: %w", err)
		}
		g.note(notes)
		g.sources = append(g.sources, credentials{"htpasswd file", func() (bool, error) {
			changed, notes, err := file.Reload()
			g.note(notes)
			return changed, err
		}})
		d.Methods = append(d.Methods, file)
	}
	if a.OpenID != nil {
		seeds, err := sharedKeys(lines, "zot login")
		if err != nil {
			return nil, err
		}
		if g.openID, err = openProviders(*a.OpenID, seeds, log.Named("openid")); err != nil {
			return nil, fmt.Errorf("http.auth.openid: %w", err)
		}
		before := g.close
		g.close = func() { before(); g.openID.Close() }
		d.OpenID = g.openID
	}
	if a.Others {
		d.Methods = append(d.Methods, notYet{})
	}
	if a.Asks() {
		d.Sessions, d.SecureCookies = known, a.SecureCookies
	}
	if a.Asks() && !a.ForeignTokens {
		seeds, err := sharedKeys(lines, "zot tokens")
		if err != nil {
			return nil, err
		}
		if g.tokens, err = token.New(seeds); err != nil {
			return nil, err
		}
		d.Tokens = g.tokens
	}
	if a.APIKeys {
		d.Keys = known
	}
	g.Change(d)
	return g, nil
}

func ldapConfig(c config.LDAP, log hclog.Logger) ldap.Config {
	return ldap.Config{
		Address: c.Address, Port: c.Port, Insecure: c.Insecure, StartTLS: c.StartTLS, SkipVerify: c.SkipVerify, CAFile: c.CACert,
		Account: ldap.Account{DN: c.BindDN, Password: c.BindPassword}, CredentialsFile: c.CredentialsFile,
		BaseDN: c.BaseDN, Subtree: c.Subtree, UserAttribute: c.UserAttribute, UserFilter: c.UserFilter, GroupAttribute: c.GroupAttribute,
		Logger: log,
	}
}

// notYet is a method that this version does not have: it must not leave open what it is to close.
type notYet struct{}

// Verify knows nobody.
func (notYet) Verify(context.Context, string, string) ([]string, error) { return nil, auth.ErrUnknown }

func (g *gate) note(notes []htpasswd.Note) {
	for _, n := range notes {
		g.log.Warn("line of the htpasswd file is left out", "line", n.Line, "why", n.Text)
	}
}

// rotate takes new lines of the secret into use.
func (g *gate) rotate(lines [][]byte) error {
	if g.tokens != nil {
		seeds, err := sharedKeys(lines, "zot tokens")
		if err != nil {
			return err
		}
		if err := g.tokens.Rotate(seeds); err != nil {
			return err
		}
	}
	if g.openID == nil {
		return nil
	}
	seeds, err := sharedKeys(lines, "zot login")
	if err != nil {
		return err
	}
	return g.openID.Rotate(seeds)
}

// reload has the files of passwords looked at now.
func (g *gate) reload() { wake(g.asked) }

// watch takes new passwords until ctx ends. What cannot be read changes nothing, and is said once.
func (g *gate) watch(ctx context.Context) error {
	if len(g.sources) == 0 {
		<-ctx.Done()
		return nil
	}
	poll := time.NewTicker(passwordsPoll)
	defer poll.Stop()
	said := make([]string, len(g.sources))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.asked:
			clear(said)
		case <-poll.C:
		}
		for i, s := range g.sources {
			changed, err := s.reload()
			switch {
			case err == nil:
				said[i] = ""
			case said[i] != err.Error():
				said[i] = err.Error()
				g.log.Warn(s.what+" is unusable, what was read before holds", "error", err)
			}
			if changed {
				g.log.Info(s.what + " changed")
			}
		}
	}
}
