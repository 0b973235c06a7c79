package fsm

import "fmt"

// APIKeysRevoked is the result of RevokeAPIKeys.
type APIKeysRevoked struct {
	Keys int `cbor:"1,keyasint"` // that were not over
}

// RevokeAPIKeys removes all keys of an owner, who has left.
//
// It is never refused.
type RevokeAPIKeys struct {
	Owner string `cbor:"1,keyasint"`
}

func (RevokeAPIKeys) wire() kind { return kind{"revoke-api-keys", 1} }

func (c RevokeAPIKeys) check() error {
	if !isName(c.Owner) {
		return fmt.Errorf("owner %.20q is empty, longer than %d bytes or has a zero byte", c.Owner, maxSubject)
	}
	return nil
}

func (c RevokeAPIKeys) apply(t *tx) (done APIKeysRevoked, err error) {
	if !isName(c.Owner) {
		return done, ErrInvalid
	}
	var all []SecretHash // 1,000 at most
	for _, hash := range t.scan(apiKeysOf, within(c.Owner), nil) {
		all = append(all, SecretHash(hash))
	}
	for _, hash := range all {
		if k, _ := load[APIKey](t.reader, apiKeys, hash[:]); k.Expires == 0 || k.Expires > t.date {
			done.Keys++
		}
		t.removeAPIKey(hash)
	}
	return done, nil
}
