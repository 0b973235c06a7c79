// Package openid has people log in with a provider: OpenID Connect, or GitHub, which has OAuth 2 alone.
//
// A login that is under way is known to no node. What must be remembered of it is in a cookie of the browser, sealed with
// keys that the nodes share, so that the provider may send the browser back to any of them. The package may not know what
// a session is, nor how cookies are set. Start reading at Logins.Begin and Logins.Finish; flight.go has what is sealed,
// provider.go speaks to a provider.
package openid

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/oauth2"
)

// What logins fail with. None has a secret in it.
var (
	ErrProvider    = errors.New("no such provider")                      // nobody has configured it
	ErrReturn      = errors.New("no address to return to")               // what should be gone back to is not allowed
	ErrRefused     = errors.New("login is refused")                      // begin again, or as somebody else
	ErrUnavailable = errors.New("provider cannot be used at the moment") // it does not answer, or not as it should
)

const (
	patience = 10 * time.Second // that a provider has for an answer
	whole    = 30 * time.Second // and for all that a request of a browser takes
)

// Config says who may vouch for people.
type Config struct {
	Providers []Provider
	Origins   []string     // to which a browser may be sent after a login, as https://pages.example; beside the registry itself
	Keys      [][]byte     // of 32 bytes, that the nodes share: the first seals, all open
	Logger    hclog.Logger // nil: nothing is logged
}

// Person is somebody for whom a provider vouches.
type Person struct {
	Name   string
	Groups []string
}

// Logins has people log in. Its methods may be called concurrently. It starts nothing that outlasts a call by more than a
// provider's time to answer.
type Logins struct {
	providers atomic.Pointer[map[string]*provider] // by their names
	origins   []string
	sealer    sealer
	client    *http.Client
}

// New returns Logins. It reads the files that providers name, and asks none of them, who may come up later.
//
// It fails if a file cannot be used, or a key has another length.
func New(c Config) (*Logins, error) {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	l, all := &Logins{client: newClient()}, map[string]*provider{}
	l.providers.Store(&all)
	for _, o := range c.Origins {
		l.origins = append(l.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	for _, one := range c.Providers {
		p, err := newProvider(one, l.client, c.Logger.With("provider", one.Name))
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", one.Name, err)
		}
		all[one.Name] = p
	}
	return l, l.Rotate(c.Keys)
}

// newClient gives providers their time.
func newClient() *http.Client {
	transport, _ := http.DefaultTransport.(*http.Transport) // it is always one
	return &http.Client{Transport: transport.Clone(), Timeout: patience}
}

// Rotate takes other keys into use. If it fails, those before are.
func (l *Logins) Rotate(keys [][]byte) error { return l.sealer.rotate(keys) }

// Reload reads the files that providers name again, and reports whether one has changed. A provider whose files cannot be used
// goes on with what was read before. Only one goroutine calls it.
func (l *Logins) Reload() (changed bool, err error) {
	all := maps.Clone(*l.providers.Load())
	for name, p := range all {
		again, failed := p.renewed()
		switch {
		case failed != nil:
			err = errors.Join(err, fmt.Errorf("provider %s: %w", name, failed))
		case again != nil:
			all[name], changed = again, true
		}
	}
	if changed {
		l.providers.Store(&all)
	}
	return changed, err
}

// Close gives connections back that nobody uses. Logins that are under way go on.
func (l *Logins) Close() { l.client.CloseIdleConnections() }

// Begin begins a login, and returns where to send the browser, and what it must bring along when the provider sends it to
// callback. To is where it goes in the end, "" for nowhere; origin where it has reached the registry.
//
// It fails with ErrProvider, ErrReturn or ErrUnavailable.
func (l *Logins) Begin(ctx context.Context, name, callback, to, origin string) (at, sealed string, err error) {
	p, err := l.provider(name)
	if err != nil {
		return "", "", err
	}
	if err := l.mayReturn(to, origin); err != nil {
		return "", "", err
	}
	f := flight{
		Provider: name, State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(), Callback: callback, To: to,
		Expires: time.Now().Add(flightTime).Unix(),
	}
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	if at, err = p.begin(ctx, f); err != nil {
		return "", "", err
	}
	sealed, err = l.sealer.seal(f)
	return at, sealed, err
}

// Finish ends a login with what the provider had the browser say, and returns for whom it vouches and where the browser
// wants to be sent, "" for nowhere.
//
// It fails with ErrProvider, ErrRefused or ErrUnavailable.
func (l *Logins) Finish(ctx context.Context, name, sealed string, said url.Values) (who Person, to string, err error) {
	p, err := l.provider(name)
	if err != nil {
		return Person{}, "", err
	}
	f, err := l.sealer.open(sealed)
	switch {
	case err != nil:
		return Person{}, "", err
	case f.Expires <= time.Now().Unix():
		return Person{}, "", fmt.Errorf("%w: it took longer than %s; begin again", ErrRefused, flightTime)
	case f.Provider != name, subtle.ConstantTimeCompare([]byte(said.Get("state")), []byte(f.State)) == 0:
		return Person{}, "", fmt.Errorf("%w: this browser has begun another; begin again", ErrRefused)
	}
	// Only now what was said is from the provider.
	if code := said.Get("error"); code != "" {
		return Person{}, "", fmt.Errorf("%w by the provider: %s", ErrRefused, quoted(code, said.Get("error_description")))
	}
	if issuer := said.Get("iss"); issuer != "" && p.config.Issuer != "" && issuer != p.config.Issuer { // RFC 9207
		return Person{}, "", fmt.Errorf("%w: another provider answers", ErrRefused)
	}
	if said.Get("code") == "" {
		return Person{}, "", fmt.Errorf("%w: the provider sent no code", ErrRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	who, err = p.finish(ctx, f, said.Get("code"))
	return who, f.To, err
}

// EndSession is where a browser ends its login at a provider, "" if that is nowhere, or cannot be told.
func (l *Logins) EndSession(ctx context.Context, name string) string {
	if p, known := (*l.providers.Load())[name]; known {
		return p.endSession(ctx)
	}
	return ""
}

func (l *Logins) provider(name string) (*provider, error) {
	all := *l.providers.Load()
	p, known := all[name]
	if !known {
		return nil, fmt.Errorf("%w as %.64q: there is %s", ErrProvider, name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return p, nil
}

// random is 256 bits.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// quoted is what a provider says of an error.
func quoted(code, description string) string {
	text := fmt.Sprintf("%.64q", code)
	if description != "" {
		text += fmt.Sprintf(", %.200q", description)
	}
	return text
}
