package fsm

import "fmt"

// RevokeAPIKey removes a key of an owner.
//
// Refused with ErrAPIKeyUnknown if the owner has no key with this id.
type RevokeAPIKey struct {
	Owner string `cbor:"1,keyasint"`
	ID    KeyID  `cbor:"2,keyasint"`
}

func (RevokeAPIKey) wire() kind { return kind{"revoke-api-key", 1} }

func (c RevokeAPIKey) check() error {
	if !isName(c.Owner) {
		return fmt.Errorf("owner %.20q is empty, longer than %d bytes or has a zero byte", c.Owner, maxSubject)
	}
	return nil
}

func (c RevokeAPIKey) apply(t *tx) (None, error) {
	hash := t.get(apiKeysOf, apiKeyOf(c.Owner, c.ID))
	if hash == nil {
		return None{}, ErrAPIKeyUnknown
	}
	t.removeAPIKey(SecretHash(hash))
	return None{}, nil
}
