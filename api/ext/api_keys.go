package ext

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/fsm"
)

// apiKey is an API key as zot shows it.
type apiKey struct {
	CreatedAt      time.Time `json:"createdAt"`
	ExpirationDate time.Time `json:"expirationDate"` // zero: never
	IsExpired      bool      `json:"isExpired"`
	CreatorUA      string    `json:"creatorUa"`
	GeneratedBy    string    `json:"generatedBy"`
	LastUsed       time.Time `json:"lastUsed"` // zero: not yet
	Label          string    `json:"label"`
	Scopes         []string  `json:"scopes"`
	UUID           string    `json:"uuid"`
	Secret         string    `json:"apiKey,omitempty"` // in the answer to who made it alone
}

// apiKeyWish is what somebody wants of a new key.
type apiKeyWish struct {
	Label          string   `json:"label"`
	Scopes         []string `json:"scopes"`
	ExpirationDate string   `json:"expirationDate"` // RFC 3339; "": never
}

// owns fails for who has no keys: who gave no name, and what has a key itself. Whoever finds a key must not get to others
// by it, or to one that lasts longer.
func owns(caller auth.Caller) error {
	switch {
	case caller.Name() == "":
		return auth.ErrCredentials
	case caller.Lent():
		return api.Refuse(http.StatusForbidden, codeDenied, "an API key or a token says nothing about API keys: log in with a password")
	}
	return nil
}

// createAPIKey makes a key, which is shown in this answer and never again.
func (e *Extensions) createAPIKey(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if err := owns(caller); err != nil {
		return err
	}
	var wish apiKeyWish
	if err := bodyOf(r, &wish, `{"label": "ci", "scopes": ["team/**"], "expirationDate": "2030-01-31T12:00:00Z"}`); err != nil {
		return err
	}
	expires, err := wish.expires(time.Now())
	if err != nil {
		return err
	}
	if err := checkScopes(wish.Scopes); err != nil {
		return err
	}
	secret := auth.NewKey()
	cmd := fsm.CreateAPIKey{
		Hash: fsm.HashAPIKey(secret), ID: newKeyID(), Owner: caller.Name(), Label: wish.Label, Scopes: wish.Scopes,
		Creator: cutTo(r.UserAgent(), maxCreator), Expires: expires, Groups: caller.Groups(),
	}
	if _, err = fsm.Encode(cmd); err != nil { // too many groups, it may be
		cmd.Groups = caller.NamedGroups()
		_, err = fsm.Encode(cmd)
	}
	if err != nil {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "such a key cannot be made: %v", err)
	}
	k, err := do(r.Context(), e.deps.Proposer, cmd)
	if errors.Is(err, fsm.ErrTooMany) {
		return api.Refuse(http.StatusConflict, codeUnsupported, "%v: revoke some that are not needed any more", err)
	}
	if err != nil {
		return err
	}
	shown := show(k, time.Now())
	shown.Secret = secret
	return answer(w, http.StatusCreated, shown)
}

// maxCreator bounds what is kept of a user agent, in bytes.
const maxCreator = 256

func cutTo(text string, n int) string { return strings.ToValidUTF8(text[:min(n, len(text))], "") }

// expires is the date in Unix milliseconds, 0 for never.
func (w apiKeyWish) expires(now time.Time) (int64, error) {
	if w.ExpirationDate == "" {
		return 0, nil
	}
	date, err := time.Parse(time.RFC3339, w.ExpirationDate)
	switch {
	case err != nil:
		return 0, api.Refuse(http.StatusBadRequest, codeUnsupported, "expirationDate is no date: write it as 2030-01-31T12:00:00Z")
	case !date.After(now):
		return 0, api.Refuse(http.StatusBadRequest, codeUnsupported, "expirationDate is in the past")
	}
	return date.UnixMilli(), nil
}

// checkScopes fails for what is no glob, or one that would take long to match: alternatives multiply.
func checkScopes(scopes []string) error {
	for _, scope := range scopes {
		switch {
		case scope == "" || !doublestar.ValidatePattern(scope):
			return api.Refuse(http.StatusBadRequest, codeUnsupported, `scope %q is no glob: write "team/*" for all in team, "team/**" for all at any depth`, scope)
		case strings.ContainsAny(scope, "{}"):
			return api.Refuse(http.StatusBadRequest, codeUnsupported, "scope %q has alternatives: write each as a scope of its own", scope)
		}
	}
	return nil
}

// listAPIKeys lists the keys of the caller, without the keys themselves.
func (e *Extensions) listAPIKeys(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if err := owns(caller); err != nil {
		return err
	}
	list := struct {
		APIKeys []apiKey `json:"apiKeys"`
	}{[]apiKey{}}
	err := e.read(w, r, func(v fsm.View) error {
		for _, k := range v.APIKeys(caller.Name()) {
			list.APIKeys = append(list.APIKeys, show(k, time.Now()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

// revokeAPIKey removes a key of the caller.
func (e *Extensions) revokeAPIKey(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if err := owns(caller); err != nil {
		return err
	}
	text := r.URL.Query().Get("id")
	if text == "" {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "say which key, as ?id=UUID")
	}
	err := error(fsm.ErrAPIKeyUnknown)
	if id, is := parseKeyID(text); is {
		_, err = do(r.Context(), e.deps.Proposer, fsm.RevokeAPIKey{Owner: caller.Name(), ID: id})
	}
	if errors.Is(err, fsm.ErrAPIKeyUnknown) {
		return api.Refuse(http.StatusNotFound, codeUnknown, "there is no such key")
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// show is a key as its owner sees it at a time.
func show(k fsm.APIKey, now time.Time) apiKey {
	scopes := k.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	return apiKey{
		CreatedAt: dateOf(k.Created), ExpirationDate: dateOf(k.Expires), IsExpired: k.Expired(now), CreatorUA: k.Creator, GeneratedBy: "manual",
		LastUsed: dateOf(k.LastUsed), Label: k.Label, Scopes: scopes, UUID: formatKeyID(k.ID),
	}
}

// dateOf is a date in Unix milliseconds; the zero time of 0.
func dateOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// newKeyID makes up a UUID of version 4 (RFC 9562, 5.4).
func newKeyID() (id fsm.KeyID) {
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

func formatKeyID(id fsm.KeyID) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// parseKeyID reads what formatKeyID wrote.
func parseKeyID(text string) (id fsm.KeyID, is bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != len(id) || len(text) != 36 {
		return id, false
	}
	return fsm.KeyID(b), true
}
