package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	peoples "github.com/seed-16d79997/zot/jobs/people"
)

// people is what the replicated state knows of those who log in. Each question joins a round, which others who ask at
// the moment share: so what was made on any node holds at once, and what was revoked on any holds no more.
type people struct {
	state       *fsm.State
	consistency api.Consistency
	local       bool // the configuration has no newer state asked for
	proposer    fsm.Proposer
	uses        *peoples.Uses
	note        jobs.Job // notes the uses of API keys
}

var (
	_ auth.Keys     = (*people)(nil)
	_ auth.Sessions = (*people)(nil)
)

func newPeople(state *fsm.State, consistency api.Consistency, proposer fsm.Proposer, local bool) (*people, error) {
	uses, note, err := peoples.New(proposer)
	return &people{state, consistency, local, proposer, uses, note}, err
}

// errMaybeNew is for a secret that is not known here, while nobody can tell whether it is elsewhere.
var errMaybeNew = errors.New("it is not known here, and there is no quorum to ask")

// newest calls find with a state that is as new as the call, or, without a quorum, with what is here; what that does
// not find, may be there.
//
// It fails with auth.ErrUnknown, or another error if it cannot be told now.
func (p *people) newest(ctx context.Context, find func(v fsm.View) bool) error {
	stale, err := p.consistency.Read(ctx)
	if err != nil {
		return err
	}
	found := false
	if err := p.state.View(func(v fsm.View) error { found = find(v); return nil }); err != nil {
		return err
	}
	switch {
	case found:
		return nil
	case stale && !p.local:
		return errMaybeNew
	}
	return auth.ErrUnknown
}

// Key is as auth.Keys says.
func (p *people) Key(ctx context.Context, secret string) (auth.Key, error) {
	hash, now := fsm.HashAPIKey(secret), time.Now()
	var k fsm.APIKey
	err := p.newest(ctx, func(v fsm.View) (known bool) {
		k, known = v.APIKey(hash)
		return known
	})
	if err != nil {
		return auth.Key{}, err
	}
	if k.Expired(now) {
		return auth.Key{}, fmt.Errorf("%w: the API key is over", auth.ErrUnknown)
	}
	p.uses.Used(hash, now)
	return keyOf(k), nil
}

// KeyOf is as auth.Keys says. No round comes before: who asks has a token, which was made after one and does not last long.
func (p *people) KeyOf(_ context.Context, owner, id string) (key auth.Key, err error) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != len(fsm.KeyID{}) {
		return auth.Key{}, auth.ErrUnknown
	}
	err = p.state.View(func(v fsm.View) error {
		k, known := v.APIKeyOf(owner, fsm.KeyID(b))
		if !known || k.Expired(time.Now()) {
			return auth.ErrUnknown
		}
		key = keyOf(k)
		return nil
	})
	return key, err
}

func keyOf(k fsm.APIKey) auth.Key {
	return auth.Key{Owner: k.Owner, ID: hex.EncodeToString(k.ID[:]), Groups: k.Groups, Scopes: k.Scopes}
}

// Session is as auth.Sessions says.
func (p *people) Session(ctx context.Context, cookie string) (auth.Login, error) {
	hash, now := fsm.HashSecret(cookie), time.Now()
	var s fsm.Session
	err := p.newest(ctx, func(v fsm.View) (known bool) {
		s, known = v.Session(hash, time.Time{}) // also if it is over: that it was is known
		return known
	})
	if err == nil && s.Expires <= now.UnixMilli() {
		err = fmt.Errorf("%w: the session is over", auth.ErrUnknown)
	}
	if err != nil {
		return auth.Login{}, err
	}
	return auth.Login{Name: s.Subject, Groups: s.Groups, Provider: s.Provider}, nil
}

// soon is how long a login waits for a quorum that seems to be gone.
const soon = time.Second

// Begin is as auth.Sessions says. Without a quorum it fails soon: whoever gives a password with a pull would wait for what
// cannot be.
func (p *people) Begin(ctx context.Context, cookie string, l auth.Login, expires time.Time) error {
	if p.consistency.NoQuorum() { // or there was none a moment ago
		waits, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		if err := p.consistency.ReadIndex(waits); err != nil {
			return fmt.Errorf("there is no quorum: %w", err)
		}
	}
	_, err := fsm.Do(ctx, p.proposer, fsm.PutSession{Cookie: fsm.HashSecret(cookie), Subject: l.Name, Groups: l.Groups, Provider: l.Provider, Expires: expires.UnixMilli()})
	return err
}

// End is as auth.Sessions says.
func (p *people) End(ctx context.Context, cookie string) error {
	_, err := fsm.Do(ctx, p.proposer, fsm.DeleteSession{Cookie: fsm.HashSecret(cookie)})
	return err
}
