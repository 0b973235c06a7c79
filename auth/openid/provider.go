package openid

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/oauth2"
)

// GitHub is the name of the one provider that speaks no OpenID Connect.
const GitHub = "github"

// The bounds of a person, which are those of a session.
const (
	maxName   = 512 // bytes
	maxGroups = 4096
	maxAll    = 128 << 10 // bytes of all groups
)

// Provider vouches for people.
type Provider struct {
	Name         string // in the addresses of a login
	Issuer       string // where it says how it is spoken to; GitHub has none
	ClientID     string
	ClientSecret string // "": the registry proves by PKCE alone that it has begun a login
	KeyFile      string // of a private key, which proves it instead of a secret
	// CredentialsFile has ClientID and ClientSecret instead; "": there is none.
	CredentialsFile string
	Scopes          []string
	// AuthURL and TokenURL are where its endpoints are; "": where it says, or where GitHub's are.
	AuthURL, TokenURL string
	// UsernameClaim and GroupsClaim are the claims with a person's name and groups; "": email and groups.
	UsernameClaim, GroupsClaim string
}

// speaker is how a provider is spoken to.
type speaker interface {
	// endpoint is where it is, without what is in the configuration. It may be asked of the provider.
	endpoint(ctx context.Context) (oauth2.Endpoint, error)
	// assertionFor is whom a signed assertion of the registry is for.
	assertionFor() string
	// person returns for whom a token is. Nonce is that of the login. It fails with ErrRefused, or another error if the
	// provider does not answer as it should.
	person(ctx context.Context, token *oauth2.Token, nonce string) (Person, error)
	// endSession is where a browser ends its login at the provider, or "".
	endSession(ctx context.Context) string
}

// provider is one with all that speaking to it takes.
type provider struct {
	speaker

	config Provider
	files  [sha256.Size]byte // what was in them
	signer *assertionKey     // nil: there is no key
	client *http.Client
	log    hclog.Logger

	mu   sync.Mutex
	said string // to the log, since it was usable
}

// newProvider fails if a file cannot be used.
func newProvider(c Provider, client *http.Client, log hclog.Logger) (*provider, error) {
	files, err := c.sum() // before they are read: what changes meanwhile is seen the next time
	if err != nil {
		return nil, err
	}
	if c.CredentialsFile != "" {
		if c.ClientID, c.ClientSecret, err = ReadCredentials(c.CredentialsFile); err != nil {
			return nil, err
		}
	}
	p := &provider{config: c, files: files, client: client, log: log}
	if c.KeyFile != "" {
		key, err := readKey(c.KeyFile)
		if err != nil {
			return nil, err
		}
		p.signer = key
	}
	if c.Name == GitHub {
		p.speaker = newGitHub(c, client)
		return p, nil
	}
	p.speaker = &discovering{config: c, client: client, log: log}
	return p, nil
}

// sum is one over what is in the provider's files.
func (c Provider) sum() (sum [sha256.Size]byte, err error) {
	var all []byte
	for _, name := range []string{c.CredentialsFile, c.KeyFile} {
		if name == "" {
			continue
		}
		content, err := readFile(name)
		if err != nil {
			return sum, err
		}
		one := sha256.Sum256(content)
		all = append(all, one[:]...)
	}
	return sha256.Sum256(all), nil
}

// renewed is the provider with what is in its files now, or nil if that is what was there. It fails as newProvider.
func (p *provider) renewed() (*provider, error) {
	files, err := p.config.sum()
	if err != nil || files == p.files {
		return nil, err
	}
	return newProvider(p.config, p.client, p.log)
}

// begin is where to send a browser that begins a login.
func (p *provider) begin(ctx context.Context, f flight) (string, error) {
	c, err := p.oauth(ctx, f)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier)}
	if p.config.Name != GitHub {
		options = append(options, oidc.Nonce(f.Nonce))
	}
	return c.AuthCodeURL(f.State, options...), nil
}

// finish asks the provider whom a code is for.
func (p *provider) finish(ctx context.Context, f flight, code string) (Person, error) {
	c, err := p.oauth(ctx, f)
	if err != nil {
		return Person{}, err
	}
	options := []oauth2.AuthCodeOption{oauth2.VerifierOption(f.Verifier)}
	if p.signer != nil {
		assertion, err := p.signer.assertion(c.ClientID, p.assertionFor())
		if err != nil {
			return Person{}, err
		}
		options = append(options, oauth2.SetAuthURLParam("client_assertion_type", assertionType), oauth2.SetAuthURLParam("client_assertion", assertion))
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := c.Exchange(ctx, code, options...)
	if err != nil {
		return Person{}, p.failed("exchange a code", exchanged(err))
	}
	who, err := p.person(ctx, token, f.Nonce)
	if err != nil {
		return Person{}, p.failed("find out who has logged in", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = ""
	return who, who.check()
}

func (p *provider) oauth(ctx context.Context, f flight) (*oauth2.Config, error) {
	at, err := p.endpoint(ctx)
	if err != nil {
		return nil, p.failed("find the endpoints", err)
	}
	if p.config.AuthURL != "" {
		at.AuthURL = p.config.AuthURL
	}
	if p.config.TokenURL != "" {
		at.TokenURL = p.config.TokenURL
	}
	c := &oauth2.Config{ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, Endpoint: at, RedirectURL: f.Callback, Scopes: p.config.Scopes}
	if p.signer != nil {
		c.ClientSecret = ""
	}
	if c.ClientSecret == "" { // the library would send an empty one in a header
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c, nil
}

// exchanged is an error of the token endpoint: a code that is not good is the browser's matter, all else ours or the provider's.
func exchanged(err error) error {
	if said, is := errors.AsType[*oauth2.RetrieveError](err); is {
		// What the provider answers may repeat what it was asked, so of that only the code is kept.
		if slices.Contains([]string{"invalid_grant", "bad_verification_code"}, said.ErrorCode) {
			return fmt.Errorf("%w: the provider does not know its code, or not any more; begin again", ErrRefused)
		}
		return fmt.Errorf("token endpoint answers %s, %.64q", said.Response.Status, said.ErrorCode)
	}
	return err
}

// failed is an error of a provider as whoever logs in is told it. What is not theirs is logged: the addresses in it are nobody's
// business.
func (p *provider) failed(doing string, err error) error {
	if errors.Is(err, ErrRefused) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := fmt.Sprintf("%s: %.500v", doing, err); text != p.said && !errors.Is(err, context.Canceled) { // anybody may begin logins
		p.said = text
		p.log.Warn("openid provider is unusable", "error", text)
	}
	return fmt.Errorf("%w: %s; the log says why", ErrUnavailable, p.config.Name)
}

// check fails with ErrRefused for one who could not be kept.
func (w Person) check() error {
	bytes := 0
	for _, g := range w.Groups {
		bytes += len(g)
	}
	switch {
	case len(w.Name) > maxName || !utf8.ValidString(w.Name) || strings.ContainsFunc(w.Name, unicode.IsControl):
		return fmt.Errorf("%w: the name is too long, or no text", ErrRefused)
	case len(w.Groups) > maxGroups || bytes > maxAll:
		return fmt.Errorf("%w: %d groups of %d bytes are more than %d of %d; have the provider name fewer", ErrRefused, len(w.Groups), bytes, maxGroups, maxAll)
	}
	return nil
}
