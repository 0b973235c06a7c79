package main

import (
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api/ext"
	"github.com/seed-16d79997/zot/auth/openid"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// openProviders fails if a file cannot be used that the configuration names. No provider is asked.
func openProviders(c config.OpenID, keys [][]byte, log hclog.Logger) (*openid.Logins, error) {
	d := openid.Config{Origins: c.Origins, Keys: keys, Logger: log}
	for _, p := range c.Providers {
		d.Providers = append(d.Providers, p.Provider)
	}
	return openid.New(d)
}

// shownProviders are those that pages can offer.
func shownProviders(c *config.OpenID) *ext.MgmtOpenID {
	if c == nil {
		return nil
	}
	shown := &ext.MgmtOpenID{Providers: map[string]ext.MgmtProvider{}}
	for _, p := range c.Providers {
		shown.Providers[p.Name] = ext.MgmtProvider{Name: p.Title}
	}
	return shown
}
