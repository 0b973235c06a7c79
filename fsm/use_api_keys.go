package fsm

import "fmt"

// maxUses is how many keys one UseAPIKeys may name.
const maxUses = 300

// UseAPIKeys notes when keys were last used. Each node gathers its own and proposes them from time to
// time. Keys that are gone are passed over, and a date never goes back.
//
// It is never refused.
type UseAPIKeys struct {
	Uses []KeyUse `cbor:"1,keyasint"`
}

// KeyUse is the newest use of a key that a node has seen.
type KeyUse struct {
	Hash SecretHash `cbor:"1,keyasint"`
	Date int64      `cbor:"2,keyasint"` // Unix milliseconds, by that node's clock
}

func (UseAPIKeys) wire() kind { return kind{"use-api-keys", 1} }

func (c UseAPIKeys) check() error {
	if len(c.Uses) == 0 || len(c.Uses) > maxUses {
		return fmt.Errorf("%d uses are not 1 to %d", len(c.Uses), maxUses)
	}
	return nil
}

func (c UseAPIKeys) apply(t *tx) (None, error) {
	for _, use := range c.Uses {
		k, known := load[APIKey](t.reader, apiKeys, use.Hash[:])
		if !known || use.Date <= k.LastUsed {
			continue
		}
		k.LastUsed = min(use.Date, max(t.date, k.LastUsed)) // a node whose clock is ahead must not hide later uses
		t.save(apiKeys, use.Hash[:], k)
	}
	return None{}, nil
}
