package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/htpasswd"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// passwordsPoll is how often a changed file of passwords is looked for. Mounted ones change without a signal.
const passwordsPoll = 5 * time.Second

// gate is who clients are and what they may do, by this node's configuration.
type gate struct {
	*auth.Gate // nil: everybody may do everything

	passwords *htpasswd.File // nil: there is none
	asked     chan struct{}
	log       hclog.Logger
}

// openGate fails if a file cannot be used that the configuration names.
func openGate(c config.HTTP, log hclog.Logger) (*gate, error) {
	g := &gate{asked: make(chan struct{}, 1), log: log}
	a := c.Auth
	if !a.Asks() && a.Access == nil {
		return g, nil
	}
	d := auth.Config{Realm: a.Realm, FailDelay: a.FailDelay, Certificates: c.TLS.ClientCA != ""}
	if a.Access != nil {
		rules, err := access.Compile(*a.Access)
		if err != nil {
			return nil, fmt.Errorf("http.accessControl: %w", err)
		}
		d.Rules = rules
	}
	if a.Htpasswd != "" {
		file, notes, err := htpasswd.Open(a.Htpasswd)
		if err != nil {
			return nil, fmt.Errorf("http.auth.htpasswd.path: %w", err)
		}
		g.passwords = file
		g.note(notes)
		d.Methods = append(d.Methods, file)
	}
	if a.Others {
		d.Methods = append(d.Methods, notYet{})
	}
	g.Gate = auth.New(d)
	return g, nil
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

// reload has the file of passwords looked at now.
func (g *gate) reload() { wake(g.asked) }

// watch takes new passwords until ctx ends. What cannot be read changes nothing, and is said once.
func (g *gate) watch(ctx context.Context) error {
	if g.passwords == nil {
		<-ctx.Done()
		return nil
	}
	poll := time.NewTicker(passwordsPoll)
	defer poll.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.asked:
			said = ""
		case <-poll.C:
		}
		changed, notes, err := g.passwords.Reload()
		switch {
		case err == nil:
			said = ""
		case said != err.Error():
			said = err.Error()
			g.log.Warn("htpasswd file is unusable, what was read before holds", "error", err)
		}
		if changed {
			g.log.Info("htpasswd file changed")
			g.note(notes)
		}
	}
}
