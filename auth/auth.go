// Package auth finds out who asks. Each method of doing so is a package or file of its own: auth/htpasswd, auth/ldap. What
// somebody may do is decided by auth/access.
//
// It may not know what a registry has, nor where its nodes are: a name and a password in a request mean the same on
// each of them. Start reading at Gate.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/openid"
	"github.com/seed-16d79997/zot/auth/remember"
	"github.com/seed-16d79997/zot/auth/token"
)

var (
	// ErrUnknown is what a method returns for a name that it does not know. The next may.
	ErrUnknown = errors.New("name is unknown")
	// ErrWrong is what a method returns for a name that it knows, and another password.
	ErrWrong = errors.New("password is wrong")
)

// The two answers of a Gate that say no. Neither says which of name and password was wrong.
var (
	ErrCredentials = errors.New("authentication required") // 401, with a challenge: none were given that hold
	ErrDenied      = errors.New("requested access to the resource is denied")
)

// Method knows some names and their passwords. It may be asked concurrently.
type Method interface {
	// Verify returns the groups of a name that has the password.
	//   - ErrUnknown, ErrWrong
	//   - any other error if it cannot be told now
	Verify(ctx context.Context, name, password string) (groups []string, err error)
}

// Recaller is a Method that knows for a while who was right, and says so at no cost.
type Recaller interface {
	// Recall returns the groups of a name that has had the password a moment ago, and whether it has.
	Recall(name, password string) (groups []string, ok bool)
}

// Config says who is let in.
type Config struct {
	Realm   string   // names what a password is for, to people
	Methods []Method // asked in this order until one knows the name with the password; none: nobody is asked who they are
	// Certificates says what of a client's certificate, which the listener has verified, names who asks where no credentials
	// do. Nil: nothing does.
	Certificates *Certificates
	// Bearer is whose tokens say who asks. Where it is there, nothing else does, and nothing is granted to everybody.
	Bearer *bearer.Verifier
	// MustCertify turns away who has shown none (Certified).
	MustCertify bool
	Rules       *access.Rules  // nil: whoever is let in may do everything
	Proxies     Proxies        // whom to believe for whom they send a request
	Keys        Keys           // nil: there are none
	Sessions    Sessions       // nil: nobody stays logged in
	Tokens      *token.Signer  // nil: there is no token service
	OpenID      *openid.Logins // nil: nobody vouches for anybody
	ExternalURL string         // where clients reach the registry, as https://registry.example; "": where they say that they do
	Origins     []string       // of pages that may change things here beside this registry's own, as https://pages.example
	// SecureCookies has browsers keep cookies for TLS alone. Those of a connection with TLS are so in any case.
	SecureCookies bool
	// FailDelay is how long whoever gave credentials waits for a no.
	FailDelay time.Duration
	Logger    hclog.Logger // nil: nothing is logged
}

// Gate says who asks, and what they may do. It starts nothing, and may be used concurrently. It does not change: a request is
// judged by one gate from its beginning to its end. Nil lets everybody do everything.
type Gate struct {
	config Config
	tries  *tries
	keys   *remember.Keys
	asking singleflight.Group         // of passwords that are being verified
	right  *remember.Memory[struct{}] // passwords that another token service has just found right
	hint   sync.Once
	guard  *http.CrossOriginProtection

	trying  atomic.Int64 // passwords
	delayed atomic.Int64 // how many wait to be told no
}

// defaultRealm is what zot calls it.
const defaultRealm = "Authorization Required"

// New returns a gate.
func New(c Config) *Gate {
	if c.Realm == "" {
		c.Realm = defaultRealm
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return &Gate{config: c, tries: newTries(), keys: remember.NewKeys(), guard: guardOf(c), right: remember.New[struct{}]()}
}

// Next is a gate with another configuration. It goes on counting wrong passwords where this one is, and takes nobody else
// for known whom this one knew.
func (g *Gate) Next(c Config) *Gate {
	next := New(c)
	next.tries = g.tries
	return next
}

// Current is the gate of the moment. Zero has none, which lets everybody do everything. It may be used concurrently.
type Current struct{ gate atomic.Pointer[Gate] }

// Gate is the one for a request that comes now.
func (c *Current) Gate() *Gate { return c.gate.Load() }

// Change has all requests that come from now on judged by another configuration. Only one goroutine changes it.
func (c *Current) Change(to Config) {
	if before := c.gate.Load(); before != nil {
		c.gate.Store(before.Next(to))
		return
	}
	c.gate.Store(New(to))
}

// asks reports whether somebody can say who they are.
func (g *Gate) asks() bool {
	return len(g.config.Methods) > 0 || g.config.Keys != nil || g.config.OpenID != nil || g.config.Bearer != nil
}

// Identify returns who sends a request. Whoever sends credentials is never taken for nobody.
//   - ErrCredentials if they do not hold, or if there are none and everybody has to have some
//   - a TooMany if wrong ones were given too often, whatever these are
//   - another error if it cannot be told now
func (g *Gate) Identify(r *http.Request) (Caller, error) {
	if g == nil {
		return Caller{}, nil
	}
	if len(r.Header["Authorization"]) > 1 { // whoever looked at the request before may have judged by another of them
		return Caller{}, ErrCredentials
	}
	c, err := g.identify(r)
	c.who.Request = g.aboutRequest(r, c.who.Request)
	return c, err
}

func (g *Gate) identify(r *http.Request) (Caller, error) {
	nobody := Caller{gate: g}
	if err := g.Certified(r); err != nil { // it got past whoever looked before while the configuration was another
		return Caller{}, err
	}
	name, password, given := r.BasicAuth()
	switch {
	case g.config.Bearer != nil:
		return g.byForeignToken(r)
	case given && name == "" && password == "": // so some clients say that they have none
	case !g.asks():
	case given:
		return g.Login(r, name, password)
	case g.tokenOf(r) != "":
		return g.byToken(r.Context(), g.tokenOf(r))
	case r.Header.Get("Authorization") != "":
		return Caller{}, ErrCredentials
	}
	if g.hasSession(r) {
		return g.bySession(r)
	}
	if name := g.config.Certificates.name(r); name != "" {
		return Caller{gate: g, who: access.Identity{Name: name}}, nil
	}
	if !g.asks() {
		return nobody, nil
	}
	if !g.open() {
		return Caller{}, ErrCredentials
	}
	return nobody, nil
}

// open reports whether anything is granted to those who give no name, where names are asked for.
func (g *Gate) open() bool {
	return g.config.Rules != nil && g.config.Rules.Open() && g.config.Bearer == nil
}

// basic lets in who has a name and its password. Who has to wait is not even told what is remembered: otherwise a guess
// that is right would show at once.
func (g *Gate) basic(r *http.Request, name, password string) (Caller, error) {
	who := pairOf(name, g.client(r))
	if err := g.tries.may(who); err != nil {
		return Caller{}, err
	}
	if groups, ok := g.recall(name, password); ok {
		g.tries.was(who)
		return Caller{gate: g, who: access.Identity{Name: name, Groups: groups}}, nil
	}
	// Clients send many requests at once, and with the first of them their password: it is one try, and of use to those
	// who wait also when the first has gone.
	ctx := context.WithoutCancel(r.Context())
	key := g.keys.Of(name, password)
	done := g.asking.DoChan(string(key[:]), func() (any, error) { return g.try(ctx, who, name, password) })
	select {
	case answer := <-done:
		groups, _ := answer.Val.([]string)
		if answer.Err != nil {
			return Caller{}, answer.Err
		}
		g.tries.was(who) // it may be another that has tried
		return Caller{gate: g, who: access.Identity{Name: name, Groups: groups}}, nil
	case <-r.Context().Done():
		return Caller{}, r.Context().Err()
	}
}

// client is the address that a password comes from.
func (g *Gate) client(r *http.Request) netip.Addr {
	client := g.config.Proxies.Client(r)
	if r.Header.Get("X-Forwarded-For") != "" && !g.config.Proxies.has(parseAddress(r.RemoteAddr)) {
		g.hint.Do(func() { // all that come through it are one to the tries
			g.config.Logger.Warn("X-Forwarded-For is not believed, name the proxy in cluster.trustedProxies if it is yours", "address", client.String())
		})
	}
	return client
}

func (g *Gate) recall(name, password string) (groups []string, ok bool) {
	for _, m := range g.config.Methods {
		if m, remembers := m.(Recaller); remembers {
			if groups, ok = m.Recall(name, password); ok {
				return groups, true
			}
		}
	}
	return nil, false
}

// maxTrying is how many passwords are verified, or wait to be, at once. They do so whether or not their clients wait.
const maxTrying = 1000

var errBusy = errors.New("as many passwords are being verified as this node may at once")

// try asks the methods, and keeps count.
func (g *Gate) try(ctx context.Context, who pair, name, password string) ([]string, error) {
	if groups, ok := g.recall(name, password); ok { // another try has ended since who asks has looked
		return groups, nil
	}
	if err := g.tries.begin(who); err != nil {
		return nil, err
	}
	groups, err := g.askIfRoom(ctx, name, password)
	switch {
	case err == nil:
		g.tries.end(who, correct)
	case errors.Is(err, ErrCredentials):
		g.tries.end(who, wrong)
	default:
		g.tries.end(who, undecided)
	}
	return groups, err
}

func (g *Gate) askIfRoom(ctx context.Context, name, password string) ([]string, error) {
	defer g.trying.Add(-1)
	if g.trying.Add(1) > maxTrying {
		return nil, errBusy
	}
	return g.ask(ctx, name, password)
}

// ask asks the methods for a name, one after the other. If one of them could not be asked and no other lets the name in,
// nobody knows whether it would have: that is no wrong password, for which a client would forget the one it has.
func (g *Gate) ask(ctx context.Context, name, password string) ([]string, error) {
	var failed error
	for _, m := range g.config.Methods {
		groups, err := m.Verify(ctx, name, password)
		switch {
		case err == nil:
			return groups, nil
		case !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrWrong):
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("find out who asks: %w", failed)
	}
	return nil, ErrCredentials
}

// Everybody reports whether somebody of whom nothing is known may do something to a repository.
func (g *Gate) Everybody(do access.Action, repository string) bool {
	switch {
	case g == nil:
		return true
	case g.asks() && !g.open():
		return false
	}
	return g.config.Rules.May(access.Identity{}, do, repository)
}

// Challenge is the value of WWW-Authenticate beside a 401 or 403, or "". Origin is where the client has reached the
// registry, scopes what a token would have to be for.
func (g *Gate) Challenge(r *http.Request, caller Caller, origin string, scopes []string) string {
	switch {
	case g == nil || !g.asks():
		return ""
	case g.config.Bearer != nil:
		return bearerChallenge(r, caller, g.config.Bearer.Realm(), g.config.Bearer.Service(), scopes)
	case g.HasTokens() && prefersTokens(r):
		return g.tokenChallenge(r, caller, origin, scopes)
	}
	return fmt.Sprintf("Basic realm=%q", g.config.Realm)
}

// Realm names what a password is for, to people.
func (g *Gate) Realm() string { return g.config.Realm }

// Delay waits before a request with credentials is told no. It returns early when the request ends.
func (g *Gate) Delay(r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		g.delay(r)
	}
}

// maxDelayed is how many are held back at once. Each holds a connection and some memory; who guesses with more at once is
// slowed down by what they have guessed wrong (tries).
const maxDelayed = 1000

// DelayLogin is Delay for credentials that are in the body of a request. It does not wait where Delay does.
func (g *Gate) DelayLogin(r *http.Request) {
	if r.Header.Get("Authorization") == "" {
		g.delay(r)
	}
}

func (g *Gate) delay(r *http.Request) {
	if g == nil || g.config.FailDelay <= 0 {
		return
	}
	defer g.delayed.Add(-1)
	if g.delayed.Add(1) > maxDelayed {
		return
	}
	t := time.NewTimer(g.config.FailDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}
