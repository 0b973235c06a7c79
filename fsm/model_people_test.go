package fsm_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// people is the part of the model that is about people and jobs.
type people struct {
	sessions map[fsm.SecretHash]fsm.Session
	keys     map[fsm.SecretHash]fsm.APIKey
	marks    map[mark]bool
	jobs     map[string]fsm.Progress
	tokens   map[shown]fsm.SecretHash // by whom they were spent
	trusted  map[trust]fsm.TrustedKey
}

type mark struct {
	user, repository string
	kind             fsm.Mark
}

// shown is a token as somebody shows it: what it says is all signed.
type shown struct {
	token   fsm.TokenID
	expires int64
}

// trust is what tells trusted keys apart.
type trust struct {
	tool                 fsm.SigningTool
	content, store, name string
}

func newPeople() people {
	return people{
		map[fsm.SecretHash]fsm.Session{},
		map[fsm.SecretHash]fsm.APIKey{},
		map[mark]bool{},
		map[string]fsm.Progress{},
		map[shown]fsm.SecretHash{},
		map[trust]fsm.TrustedKey{},
	}
}

// The names that the people of a run have.
func users() []string { return []string{"ann", "anna"} }

func jobNames() []string { return []string{"gc", "gc/1", "sync"} }

func secrets() (all []fsm.SecretHash) {
	for i := range 4 {
		all = append(all, fsm.HashSecret(fmt.Sprint(i)))
	}
	return all
}

func tools() []fsm.SigningTool { return []fsm.SigningTool{fsm.Cosign, fsm.Notation} }

func keyContents() []string { return []string{"one", "another"} }

const thirtyDays = int64(30 * 24 * time.Hour / time.Millisecond)

func (m *model) putSession(c fsm.PutSession) (fsm.None, *fsm.Refusal) {
	if c.Expires <= m.date {
		return fsm.None{}, fsm.ErrSessionOver
	}
	m.sessions[c.Cookie] = fsm.Session{
		Subject: c.Subject, Provider: c.Provider, Groups: c.Groups, Created: m.date, Expires: c.Expires,
	}
	return fsm.None{}, nil
}

// endSessions ends those that are as asked for, and says how many.
func (m *model) endSessions(is func(fsm.Session) bool) int {
	before := len(m.sessions)
	maps.DeleteFunc(m.sessions, func(_ fsm.SecretHash, s fsm.Session) bool { return is(s) })
	return before - len(m.sessions)
}

func (m *model) createAPIKey(c fsm.CreateAPIKey) (k fsm.APIKey, _ *fsm.Refusal) {
	if _, taken := m.keys[c.Hash]; taken {
		return k, fsm.ErrAPIKeyExists
	}
	for _, other := range m.keys {
		if other.Owner == c.Owner && other.ID == c.ID {
			return k, fsm.ErrAPIKeyExists
		}
	}
	k = fsm.APIKey{
		ID: c.ID, Owner: c.Owner, Label: c.Label, Scopes: c.Scopes, Creator: c.Creator, Created: m.date, Expires: c.Expires,
		Groups: c.Groups,
	}
	m.keys[c.Hash] = k
	return k, nil
}

func (m *model) removeKeys(is func(fsm.APIKey) bool) int {
	before := len(m.keys)
	maps.DeleteFunc(m.keys, func(_ fsm.SecretHash, k fsm.APIKey) bool { return is(k) })
	return before - len(m.keys)
}

func (m *model) revokeAPIKeys(c fsm.RevokeAPIKeys) (done fsm.APIKeysRevoked, _ *fsm.Refusal) {
	for _, k := range m.keys {
		if k.Owner == c.Owner && (k.Expires == 0 || k.Expires > m.date) {
			done.Keys++
		}
	}
	m.removeKeys(func(k fsm.APIKey) bool { return k.Owner == c.Owner })
	return done, nil
}

func (m *model) useAPIKeys(c fsm.UseAPIKeys) (fsm.None, *fsm.Refusal) {
	for _, use := range c.Uses {
		if k, known := m.keys[use.Hash]; known && use.Date > k.LastUsed {
			k.LastUsed = max(k.LastUsed, min(use.Date, m.date))
			m.keys[use.Hash] = k
		}
	}
	return fsm.None{}, nil
}

func (m *model) stars(repository string) (n uint64) {
	for k, set := range m.marks {
		if set && k.repository == repository && k.kind == fsm.Star {
			n++
		}
	}
	return n
}

func (m *model) setPreference(c fsm.SetPreference) (done fsm.PreferenceSet, _ *fsm.Refusal) {
	if m.repos[c.Repository] == nil {
		return done, fsm.ErrRepositoryUnknown
	}
	k := mark{c.User, c.Repository, c.Mark}
	m.marks[k] = c.Change == fsm.SetMark || c.Change == fsm.ToggleMark && !m.marks[k]
	return fsm.PreferenceSet{Marked: m.marks[k], Stars: m.stars(c.Repository)}, nil
}

func (m *model) trustKey(c fsm.TrustKey) (fsm.None, *fsm.Refusal) {
	k := trust{c.Tool, string(c.Content), c.Store, c.Name}
	if _, there := m.trusted[k]; !there {
		m.trusted[k] = fsm.TrustedKey{
			Tool: c.Tool, Store: c.Store, Name: c.Name, Digest: dig(string(c.Content)), Content: c.Content, By: c.By, Given: m.date,
		}
	}
	return fsm.None{}, nil
}

func (m *model) distrustKey(c fsm.DistrustKey) (fsm.None, *fsm.Refusal) {
	before := len(m.trusted)
	maps.DeleteFunc(m.trusted, func(_ trust, k fsm.TrustedKey) bool { return k.Tool == c.Tool && k.Digest == c.Digest })
	if len(m.trusted) == before {
		return fsm.None{}, fsm.ErrTrustedKeyUnknown
	}
	return fsm.None{}, nil
}

func (m *model) setProgress(c fsm.SetProgress) (fsm.None, *fsm.Refusal) {
	if c.Term > m.term {
		return fsm.None{}, fsm.ErrInvalid
	}
	if m.jobs[c.Job].Term > c.Term {
		return fsm.None{}, fsm.ErrTermOver
	}
	if len(c.Value) == 0 {
		delete(m.jobs, c.Job)
		return fsm.None{}, nil
	}
	p := fsm.Progress{Job: c.Job, Term: c.Term, Value: c.Value}
	if c.Lifetime > 0 {
		p.Expires = m.now.Add(c.Lifetime)
	}
	m.jobs[c.Job] = p
	return fsm.None{}, nil
}

func (m *model) spendToken(c fsm.SpendToken) (fsm.None, *fsm.Refusal) {
	if c.Expires <= m.date {
		return fsm.None{}, fsm.ErrTokenExpired
	}
	k := shown{c.Token, c.Expires}
	if before, spent := m.tokens[k]; spent && before != c.Joiner {
		return fsm.None{}, fsm.ErrTokenSpent
	}
	m.tokens[k] = c.Joiner
	return fsm.None{}, nil
}

// aboutPeople makes up a command about people or jobs.
func (g *generator) aboutPeople() operation {
	switch g.r.IntN(16) { // each command often: no run may be without any

	case 0, 1:
		c := fsm.PutSession{Cookie: pick(g.r, secrets()), Subject: pick(g.r, users()), Expires: g.soon(), Groups: []string{"dev"}}
		return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.putSession(c) }))
	case 2, 13:
		return g.endOfSessions()
	case 3, 4:
		return g.newKey()
	case 5, 14:
		return g.endOfKeys()
	case 6:
		c := fsm.UseAPIKeys{Uses: []fsm.KeyUse{{Hash: pick(g.r, secrets()), Date: g.soon()}, {Hash: pick(g.r, secrets()), Date: g.soon()}}}
		return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.useAPIKeys(c) }))
	case 7, 8:
		c := fsm.SetPreference{
			User: pick(g.r, users()), Repository: pick(g.r, g.u.repositories),
			Mark: fsm.Mark(between(g.r, 1, 2)), Change: fsm.MarkChange(between(g.r, 1, 3)),
		}
		return g.must(operationOf(c, func(m *model) (fsm.PreferenceSet, *fsm.Refusal) { return m.setPreference(c) }))
	case 9:
		return g.spending()
	case 10:
		c := fsm.TrustKey{Tool: pick(g.r, tools()), Content: []byte(pick(g.r, keyContents())), Store: pick(g.r, []string{"", "ca"}), Name: pick(g.r, []string{"", "a"}), By: "ann"}
		return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.trustKey(c) }))
	case 11:
		c := fsm.DistrustKey{Tool: pick(g.r, tools()), Digest: dig(pick(g.r, keyContents()))}
		return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.distrustKey(c) }))
	case 12:
		c := fsm.RevokeAPIKeys{Owner: pick(g.r, users())}
		return g.must(operationOf(c, func(m *model) (fsm.APIKeysRevoked, *fsm.Refusal) { return m.revokeAPIKeys(c) }))
	default:
		c := fsm.SetProgress{Job: pick(g.r, jobNames()), Term: g.term + uint64(g.r.IntN(3)) - 1, Value: []byte("x")[:g.r.IntN(2)]}
		c.Term, c.Lifetime = max(1, c.Term), pick(g.r, []time.Duration{0, time.Millisecond, time.Hour})
		return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.setProgress(c) }))
	}
}

// soon is a date about now.
func (g *generator) soon() int64 { return g.date + int64(between(g.r, -2000, 30_000)) }

// spending shows one of a few tokens, often one that was shown before.
func (g *generator) spending() operation {
	c := fsm.SpendToken{Token: fsm.TokenID{byte(g.r.IntN(3))}, Joiner: pick(g.r, secrets()), Expires: g.date + int64(between(g.r, -2000, 900_000))}
	var before []shown
	for k := range g.m.tokens {
		before = append(before, k)
	}
	slices.SortFunc(before, func(a, b shown) int {
		return cmp.Or(cmp.Compare(a.expires, b.expires), bytes.Compare(a.token[:], b.token[:]))
	})
	if len(before) > 0 && chance(g.r, 70) {
		newest := before[max(0, len(before)-3):]
		k := pick(g.r, newest)
		c.Token, c.Expires = k.token, k.expires
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.spendToken(c) }))
}

func (g *generator) endOfSessions() operation {
	switch g.r.IntN(3) {
	case 0:
		c := fsm.DeleteSession{Cookie: pick(g.r, secrets())}
		return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) {
			delete(m.sessions, c.Cookie)
			return fsm.None{}, nil
		}))
	case 1:
		c := fsm.DeleteSessions{Subject: pick(g.r, users())}
		return g.must(operationOf(c, func(m *model) (fsm.SessionsDeleted, *fsm.Refusal) {
			return fsm.SessionsDeleted{Sessions: m.endSessions(func(s fsm.Session) bool { return s.Subject == c.Subject })}, nil
		}))
	default:
		return g.must(operationOf(fsm.ExpireSessions{}, func(m *model) (fsm.ExpiredRemoved, *fsm.Refusal) {
			return fsm.ExpiredRemoved{Removed: m.endSessions(func(s fsm.Session) bool { return s.Expires <= m.date })}, nil
		}))
	}
}

func (g *generator) newKey() operation {
	c := fsm.CreateAPIKey{Hash: pick(g.r, secrets()), ID: fsm.KeyID{byte(g.r.IntN(4))}, Owner: pick(g.r, users()), Label: "ci", Groups: []string{"dev"}}
	switch g.r.IntN(3) {
	case 0:
		c.Expires = g.soon()
	case 1:
		c.Expires = g.soon() - thirtyDays
	}
	return g.must(operationOf(c, func(m *model) (fsm.APIKey, *fsm.Refusal) { return m.createAPIKey(c) }))
}

func (g *generator) endOfKeys() operation {
	if chance(g.r, 50) {
		return g.must(operationOf(fsm.ExpireAPIKeys{}, func(m *model) (fsm.ExpiredRemoved, *fsm.Refusal) {
			over := func(k fsm.APIKey) bool { return k.Expires != 0 && k.Expires <= m.date-thirtyDays }
			return fsm.ExpiredRemoved{Removed: m.removeKeys(over)}, nil
		}))
	}
	c := fsm.RevokeAPIKey{Owner: pick(g.r, users()), ID: fsm.KeyID{byte(g.r.IntN(4))}}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) {
		if m.removeKeys(func(k fsm.APIKey) bool { return k.Owner == c.Owner && k.ID == c.ID }) == 0 {
			return fsm.None{}, fsm.ErrAPIKeyUnknown
		}
		return fsm.None{}, nil
	}))
}

// describePeople is what the views say of people and jobs, a line each.
func describePeople(v fsm.View, m *model, u *universe) (have, want []string) {
	add := func(h, w any) { have, want = append(have, fmt.Sprint(h)), append(want, fmt.Sprint(w)) }
	now := time.UnixMilli(m.date)
	sessionsDue, keysDue := false, false
	for _, hash := range secrets() {
		s, there := v.Session(hash, now)
		expected := m.sessions[hash]
		sessionsDue = sessionsDue || expected.Expires != 0 && expected.Expires <= m.date
		if expected.Expires <= m.date {
			expected = fsm.Session{}
		}
		add([]any{s, there}, []any{expected, expected.Expires != 0})
		k, known := v.APIKey(hash)
		kept, is := m.keys[hash]
		keysDue = keysDue || kept.Expires != 0 && kept.Expires <= m.date-thirtyDays
		add([]any{k, known}, []any{kept, is})
	}
	add([]bool{v.ExpiredSessions(now), v.ExpiredAPIKeys(now)}, []bool{sessionsDue, keysDue})
	for _, user := range users() {
		add(v.APIKeys(user), m.keysOf(user))
		for _, want := range m.keysOf(user) {
			k, known := v.APIKeyOf(user, want.ID)
			add([]any{k, known}, []any{want, true})
		}
		add(v.MarkedBy(user, fsm.Star), m.markedBy(user, fsm.Star))
		add(v.MarkedBy(user, fsm.Bookmark), m.markedBy(user, fsm.Bookmark))
	}
	for _, name := range u.repositories {
		add(v.Stars(name), m.stars(name))
	}
	add(v.TrustedKeys(), m.trustedKeys())
	for _, prefix := range append(jobNames(), "") {
		add(v.ProgressBelow(prefix), m.progressBelow(prefix))
		p, there := v.Progress(prefix)
		expected, is := m.jobs[prefix]
		if is && expected.Expires != 0 && expected.Expires <= m.now {
			expected, is = fsm.Progress{}, false
		}
		add([]any{p, there}, []any{expected, is})
	}
	return have, want
}

func (m *model) keysOf(user string) (all []fsm.APIKey) {
	for _, k := range m.keys {
		if k.Owner == user {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b fsm.APIKey) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all
}

func (m *model) trustedKeys() (all []fsm.TrustedKey) {
	for _, k := range m.trusted {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b fsm.TrustedKey) int {
		return cmp.Or(cmp.Compare(a.Tool, b.Tool), cmp.Compare(a.Digest, b.Digest), cmp.Compare(a.Store, b.Store), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func (m *model) markedBy(user string, kind fsm.Mark) (all []string) {
	for k, set := range m.marks {
		if set && k.user == user && k.kind == kind {
			all = append(all, k.repository)
		}
	}
	slices.Sort(all)
	return all
}

func (m *model) progressBelow(prefix string) (all []fsm.Progress) {
	for name, p := range m.jobs {
		if strings.HasPrefix(name, prefix) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b fsm.Progress) int { return cmp.Compare(a.Job, b.Job) })
	return all
}
