package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/token"
)

// Caller is who asks. That of a node that acts for a client which was let in elsewhere may do everything, as may
// everybody where nothing is configured: it is zero.
type Caller struct {
	gate   *Gate
	who    access.Identity
	limits limits

	byPassword bool // who asks has just shown one
}

// limits narrow what somebody may. Zero narrows nothing.
type limits struct {
	Scopes []string `json:",omitempty"` // of an API key: globs of the repositories that it is for; none: all
	Lent   bool     `json:",omitempty"` // by a name to something that acts for it
	Key    string   `json:",omitempty"` // the id of the API key that asks

	Token   bool           `json:",omitempty"` // it is a token that asks, which is for what was granted alone
	Granted []token.Access `json:",omitempty"`
	Foreign bool           `json:",omitempty"` // the token is of another service: what it is for decides, and no rules
}

// contain reports whether a repository is within the scopes.
func (l limits) contain(repository string) bool {
	if len(l.Scopes) == 0 {
		return true
	}
	for _, glob := range l.Scopes {
		if is, err := doublestar.Match(glob, repository); err == nil && is { // a key that was taken in from elsewhere may have what is no glob
			return true
		}
	}
	return false
}

// allow reports whether something to a repository is within the limits. No limit takes a duty away.
func (l limits) allow(do access.Action, repository string) bool {
	if !l.contain(repository) {
		return false
	}
	if !l.Token {
		return true
	}
	granted := access.DetectCollision
	for _, a := range l.Granted {
		if a.Type != typeRepository || a.Name != repository {
			continue
		}
		for _, word := range a.Actions {
			granted |= actionsOf(word)
		}
	}
	return granted&do == do
}

// Name is "" for nobody in particular.
func (c Caller) Name() string { return c.who.Name }

// Groups are those that the caller was found in, beside those of the rules.
func (c Caller) Groups() []string { return c.who.Groups }

// NamedGroups are those of Groups that the rules are about, which are few where Groups are hundreds.
func (c Caller) NamedGroups() []string { return c.rules().Named(c.who.Groups) }

// Lent reports whether it is an API key or a token that asks. What it can do ends with it: it can make no other.
func (c Caller) Lent() bool { return c.limits.Lent }

// May reports whether the caller may do something to a repository.
func (c Caller) May(do access.Action, repository string) bool {
	return c.limits.allow(do, repository) && c.rules().May(c.who, do, repository)
}

// might is May if the conditions of policies are true later: of when something is done a token does not know.
func (c Caller) might(do access.Action, repository string) bool {
	return c.limits.allow(do, repository) && c.rules().Might(c.who, do, repository)
}

// Sees reports whether a list may show a repository to the caller, who may ask for it: a token is for the list, and not for
// what is in it. One of another service shows what it is for, or all.
func (c Caller) Sees(repository string) bool {
	if c.limits.Foreign {
		return c.limits.lists() || c.May(access.Read, repository)
	}
	return c.limits.contain(repository) && c.rules().May(c.who, access.Read, repository)
}

// MustList is nil if the caller may list repositories. It fails with ErrCredentials if another token is needed.
func (c Caller) MustList() error {
	if !c.limits.Token || c.limits.Foreign || c.limits.lists() {
		return nil
	}
	return ErrCredentials
}

// lists reports whether a token is for the catalog.
func (l limits) lists() bool {
	return slices.ContainsFunc(l.Granted, func(a token.Access) bool {
		return a.Type == "registry" && a.Name == "catalog" && slices.Contains(a.Actions, "*")
	})
}

// rules are nil where nothing is configured, and for whom there are none.
func (c Caller) rules() *access.Rules {
	if c.gate == nil || c.limits.Foreign {
		return nil
	}
	return c.gate.config.Rules
}

// Must is nil if the caller may do something to a repository, or any of several things; else it is as Denied says. It
// fails with ErrCredentials if a token for more is to be had.
func (c Caller) Must(repository string, do ...access.Action) error {
	more := false
	for _, one := range do {
		if c.May(one, repository) {
			return nil
		}
		more = more || c.limits.Token && c.limits.contain(repository) && c.rules().May(c.who, one, repository)
	}
	if more {
		return ErrCredentials
	}
	return c.DeniedTo(repository, do...)
}

// MustAdminister is nil if the caller may do something to the registry as a whole: whom the policy for administrators lets, but
// by nothing that is for some repositories, as a token or an API key with scopes. Else it is ErrDenied, or as Denied says.
func (c Caller) MustAdminister(do access.Action) error {
	some := c.limits.Token || len(c.limits.Scopes) > 0
	switch {
	case !some && c.rules().Administers(c.who, do):
		return nil
	case !some && c.who.Name == "":
		return c.Denied()
	}
	return fmt.Errorf("%w: this is for administrators, whom http.accessControl.adminPolicy names", ErrDenied)
}

// Denied is ErrCredentials for one who gave no name and could, or has a token for too little, and ErrDenied for all others.
func (c Caller) Denied() error {
	if c.gate != nil && c.gate.asks() && (c.who.Name == "" || c.limits.Foreign) {
		return ErrCredentials
	}
	return ErrDenied
}

// DeniedTo is Denied of one of several things to a repository, with the message of the first condition that denies it.
func (c Caller) DeniedTo(repository string, do ...access.Action) error {
	err := c.Denied()
	if !errors.Is(err, ErrDenied) {
		return err
	}
	for _, one := range do {
		if message := c.rules().Why(c.who, one, repository); message != "" && c.limits.allow(one, repository) {
			return fmt.Errorf("%w: %s", err, message)
		}
	}
	return err
}

// Greets reports whether a client may be told that it needs no credentials: on the base endpoint it learns, for all
// that follows, whether to send any.
func (c Caller) Greets() bool {
	return c.gate == nil || c.who.Name != "" || c.limits.Token || !c.gate.asks()
}

// passedOn is a Caller as nodes write it down for each other.
type passedOn struct {
	access.Identity
	limits

	Everything bool `json:",omitempty"` // may be done by the caller: it is said, so that to say nothing grants nothing
}

// Encode writes down who the caller is, for another node to go by: what they may is decided there by the same rules.
// It fits into a header.
//
// Of the groups it has those that the rules are about, for somebody in a directory may be in hundreds. A node that has
// newer rules already, about other groups too, takes the caller for less until this one has them, never for more.
func (c Caller) Encode() string {
	if c.gate == nil {
		return `{"Everything":true}`
	}
	who := c.who
	who.Groups = c.NamedGroups()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)                                                     // it must fit into a header
	_ = e.Encode(passedOn{Identity: who, limits: c.limits})                    // what JSON has, or strings
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`) // the one control character that JSON may have
}

// Decode reads what Encode wrote on another node. It fails for anything else.
func (g *Gate) Decode(text string) (Caller, error) {
	var p passedOn
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return Caller{}, fmt.Errorf("read who asks: %w", err)
	}
	if p.Everything { // that node has nothing configured, or its operator asks: it has judged
		return Caller{}, nil
	}
	if g == nil { // what only the other node has rules for, that has judged
		return Caller{limits: p.limits}, nil
	}
	return Caller{gate: g, who: p.Identity, limits: p.limits}, nil
}
