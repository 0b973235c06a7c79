// Package ext is what zot serves beside the distribution specification: the API keys and preferences of a
// caller, a login with a provider, the end of logins, the token service that Docker logs in at, the keys that signatures of images are believed by,
// what pages must know, and the list of all this.
//
// It may not know how a caller has proved who they are; what package api does for each request, it does for these too.
// Start with New, which has a line for each path.
package ext

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/fsm"
)

// maxBody bounds what is read of a request, in bytes.
const maxBody = 8 << 10

// The codes of refusals, of the specification where it has one.
const (
	codeDenied      = "DENIED"
	codeUnsupported = "UNSUPPORTED"
	codeUnknown     = "UNKNOWN"

	codeUnauthorized = "UNAUTHORIZED"
)

// headerConsistency is in answers from a state that may be old.
const headerConsistency = "X-Zot-Consistency"

// Config says what is served.
type Config struct {
	APIKeys     bool
	Preferences bool              // marks of users on repositories
	Mgmt        *Mgmt             // nil: nothing of the configuration is shown
	Signatures  []fsm.SigningTool // whose signatures are checked
}

// Deps is what the extensions work with.
type Deps struct {
	Registry    *api.Registry     // finds out who asks
	Gate        func() *auth.Gate // the registry's
	Proposer    fsm.Proposer      // an error of it that is fsm.ErrNotAdmitted is our fault, any other nobody's
	Consistency api.Consistency
	State       api.State
}

// Extensions answers requests for certain paths. It starts nothing, and may serve any number of them at once.
type Extensions struct {
	config Config
	deps   Deps
	paths  map[string]http.Handler // one that ends in a slash is for all right below
	checks chan struct{}           // as many as may check the signatures of an image at once
}

// New returns Extensions. It fails if something is missing.
func New(c Config, d Deps) (*Extensions, error) {
	if d.Registry == nil || d.Gate == nil || d.Proposer == nil || d.Consistency == nil || d.State == nil {
		return nil, errors.New("extensions need a registry, a proposer, a consistency and a state")
	}
	e := &Extensions{config: c, deps: d, paths: map[string]http.Handler{}, checks: make(chan struct{}, maxChecks)}
	if c.APIKeys {
		keys := e.resource(map[string]api.Extension{http.MethodGet: e.listAPIKeys, http.MethodPost: e.createAPIKey, http.MethodDelete: e.revokeAPIKey})
		e.paths["/v2/_zot/ext/apikey"] = keys
		e.paths["/zot/auth/apikey"] = keys
	}
	if c.Preferences {
		e.paths["/v2/_zot/ext/userprefs"] = e.resource(map[string]api.Extension{http.MethodPut: e.setPreference})
	}
	if c.Mgmt != nil {
		e.paths["/v2/_zot/ext/mgmt"] = e.mgmt()
	}
	if slices.Contains(c.Signatures, fsm.Cosign) {
		e.paths["/v2/_zot/ext/cosign"] = e.keysOf(fsm.Cosign)
	}
	if slices.Contains(c.Signatures, fsm.Notation) {
		e.paths["/v2/_zot/ext/notation"] = e.keysOf(fsm.Notation)
	}
	if len(c.Signatures) > 0 {
		e.paths["/v2/_zot/ext/signatures"] = e.resource(map[string]api.Extension{http.MethodGet: e.signatures})
	}
	e.paths["/zot/auth/logins"] = e.resource(map[string]api.Extension{http.MethodDelete: e.endLogins})
	e.paths["/v2/_oci/ext/discover"] = e.resource(map[string]api.Extension{http.MethodGet: e.discover})
	logout := d.Registry.ExtendToAll(e.logout)
	e.paths["/auth/logout"] = logout
	e.paths["/zot/auth/logout"] = logout
	e.paths[auth.TokenPath] = d.Registry.ExtendToAll(e.token)
	login, callback := d.Registry.ExtendToAll(e.login), d.Registry.ExtendToAll(e.callback)
	e.paths[auth.LoginPath], e.paths[auth.OldLoginPath] = login, login
	e.paths[auth.CallbackPath], e.paths[auth.OldCallbackPath] = callback, callback
	return e, nil
}

// Before answers what is for the extensions, and has rest answer all else. It looks at the path as it came.
func (e *Extensions) Before(rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ours := e.paths[r.URL.Path]
		if !ours {
			folder, _ := path.Split(r.URL.Path)
			h, ours = e.paths[folder]
		}
		if ours {
			h.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// resource answers whoever is known, by the method of a request.
func (e *Extensions) resource(methods map[string]api.Extension) http.Handler {
	allowed := slices.Sorted(maps.Keys(methods))
	return e.deps.Registry.Extend(func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
		if err := admit(w, r, allowed...); err != nil {
			return err
		}
		return methods[r.Method](w, r, caller)
	})
}

// admit fails for any other method.
func admit(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return api.Refuse(http.StatusMethodNotAllowed, codeUnsupported, "method %s is not allowed here", r.Method)
	}
	w.Header().Set("Cache-Control", "no-store") // what is answered is for this caller alone
	return nil
}

// do proposes a command. It fails with a *fsm.Refusal, or api.ErrUnavailable.
func do[R any](ctx context.Context, p fsm.Proposer, cmd fsm.CommandOf[R]) (R, error) {
	result, err := fsm.Do(ctx, p, cmd)
	if err != nil && !errors.Is(err, fsm.ErrNotAdmitted) && !errors.As(err, new(*fsm.Refusal)) {
		err = fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return result, err
}

// read calls look with a state that is as new as the request, or an older one, which the answer says.
func (e *Extensions) read(w http.ResponseWriter, r *http.Request, look func(v fsm.View) error) error {
	stale, err := e.deps.Consistency.Read(r.Context())
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	if stale {
		w.Header().Set(headerConsistency, "stale")
	}
	return e.deps.State.View(look)
}

// readBody reads a body of so many bytes at most. One that is announced to be larger is not waited for.
func readBody(r *http.Request, most int64) ([]byte, error) {
	tooLarge := api.Refuse(http.StatusRequestEntityTooLarge, codeUnsupported, "the body has more than %d bytes", most)
	if r.ContentLength > most {
		return nil, tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = tooLarge
	}
	return b, err
}

// bodyOf reads a body of JSON, and shows an example to who has sent something else: also another field, for a misspelt one would
// leave something out that was meant, as what a key is not for.
func bodyOf(r *http.Request, into any, example string) error {
	b, err := readBody(r, maxBody)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	switch err = d.Decode(into); {
	case errors.Is(err, io.EOF):
		err = errors.New("it is empty")
	case err == nil && d.More():
		err = errors.New("there is more behind it")
	}
	if kind, is := errors.AsType[*json.UnmarshalTypeError](err); is { // whose text speaks of our types
		err = fmt.Errorf("%s is of the wrong kind, %s", cmp.Or(kind.Field, "all of it"), kind.Value)
	}
	if err != nil {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "the body is not as it should be: %s; send something like %s", strings.TrimPrefix(err.Error(), "json: "), example)
	}
	return nil
}

// answer writes a value.
func answer(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that has gone needs no answer
	return nil
}
