package fsm

import "fmt"

// The bounds of an API key.
const (
	maxLabel     = 1024 // bytes; of the creator too
	maxScopes    = 256
	maxScope     = 512      // bytes
	maxKeyGroups = 32 << 10 // bytes: each use of a key writes its record again
	apiKeysOfOne = 1000
)

// CreateAPIKey records a key that its owner was just shown. Its date of creation is that of the entry.
//
// Refused with:
//   - ErrTooMany if the owner has 1,000 keys
//   - ErrAPIKeyExists if the hash or the id is taken
type CreateAPIKey struct {
	Hash    SecretHash `cbor:"1,keyasint"`
	ID      KeyID      `cbor:"2,keyasint"`
	Owner   string     `cbor:"3,keyasint"`
	Label   string     `cbor:"4,keyasint,omitempty"`
	Scopes  []string   `cbor:"5,keyasint,omitempty"`
	Creator string     `cbor:"6,keyasint,omitempty"`
	Expires int64      `cbor:"7,keyasint,omitempty"` // Unix milliseconds; 0: never
	Groups  []string   `cbor:"8,keyasint,omitempty"`
}

func (CreateAPIKey) wire() kind { return kind{"create-api-key", 1} }

func (c CreateAPIKey) check() error {
	switch {
	case !isName(c.Owner):
		return fmt.Errorf("owner %.20q is empty, longer than %d bytes or has a zero byte", c.Owner, maxSubject)
	case len(c.Label) > maxLabel || len(c.Creator) > maxLabel:
		return fmt.Errorf("label or creator is longer than %d bytes", maxLabel)
	case len(c.Scopes) > maxScopes:
		return fmt.Errorf("%d scopes are more than %d", len(c.Scopes), maxScopes)
	case c.Expires < 0:
		return fmt.Errorf("the expiry is before 1970")
	}
	if err := checkGroups(c.Groups, maxKeyGroups); err != nil {
		return err
	}
	for _, s := range c.Scopes {
		if s == "" || len(s) > maxScope {
			return fmt.Errorf("scope %.20q is empty or longer than %d bytes", s, maxScope)
		}
	}
	return nil
}

func (c CreateAPIKey) apply(t *tx) (APIKey, error) {
	if !isName(c.Owner) || c.Expires < 0 {
		return APIKey{}, ErrInvalid
	}
	if t.has(apiKeys, c.Hash[:]) || t.has(apiKeysOf, apiKeyOf(c.Owner, c.ID)) {
		return APIKey{}, ErrAPIKeyExists
	}
	if n := t.countPrefix(apiKeysOf, within(c.Owner), apiKeysOfOne); n == apiKeysOfOne {
		return APIKey{}, ErrTooMany.with("%d API keys", n)
	}
	k := APIKey{
		ID: c.ID, Owner: c.Owner, Label: c.Label, Scopes: c.Scopes, Creator: c.Creator, Created: t.date, Expires: c.Expires,
		Groups: c.Groups,
	}
	t.save(apiKeys, c.Hash[:], k)
	t.reindex(nil, k.indexes(c.Hash))
	return k, nil
}
