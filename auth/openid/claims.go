package openid

import (
	"context"
	"fmt"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// The claims that are read where nothing else is configured.
const (
	claimEmail    = "email"
	claimVerified = "email_verified"
	claimGroups   = "groups"
)

// claims are what a provider says of somebody.
type claims map[string]any

// add adds what the userinfo endpoint says, and the ID token did not.
func (c claims) add(ctx context.Context, p *oidc.Provider, token *oauth2.Token, subject string) error {
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("ask for more claims: %w", err)
	}
	if info.Subject != subject { // OpenID Connect Core, 5.3.2: else it may be another's
		return fmt.Errorf("%w: the userinfo endpoint speaks of somebody else", ErrRefused)
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return fmt.Errorf("read more claims: %w", err)
	}
	for name, value := range more {
		if _, given := c[name]; !given {
			c[name] = value
		}
	}
	return nil
}

// person is whom the claims describe. Anybody may claim an address that nobody has verified.
func (c claims) person(name, groups string) (Person, error) {
	if verified := c[claimVerified]; name == claimEmail && (verified == false || verified == "false") {
		return Person{}, fmt.Errorf("%w: the provider has not verified the email address", ErrRefused)
	}
	who := Person{}
	who.Name, _ = c[name].(string)
	if who.Name == "" {
		return Person{}, fmt.Errorf("%w: the provider sends no claim %q; ask for a scope that has it", ErrRefused, name)
	}
	switch all := c[groups].(type) {
	case string:
		who.Groups = []string{all}
	case []any:
		for _, one := range all {
			if g, is := one.(string); is {
				who.Groups = append(who.Groups, g)
			}
		}
	}
	return who, nil
}
