package fsm

import (
	"fmt"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxQuotas bounds one SetLimits, which may touch twice as many keys when all of them change: once, when somebody
// edits the configuration.
const maxQuotas = 1000

// SetLimits says how many repositories there may be, and how many bytes they may have, in place of all that was said
// before. A ready leader proposes it when its configuration differs from the state. What is over a new limit already
// stays, and gets no larger: nothing is counted for it, because what repositories have is counted always.
//
// It is never refused.
type SetLimits struct {
	Limits
}

// Limits is what a registry may have at most.
type Limits struct {
	MaxRepositories int64   `cbor:"1,keyasint,omitempty"` // 0: any number
	Quotas          []Quota `cbor:"2,keyasint,omitempty"` // in the order of their prefixes
}

// Quota is how many bytes, as counted in Used, a repository and all those below it may have together. The prefix ""
// is above all. Where several prefixes are above a repository, each quota holds.
type Quota struct {
	Prefix string `cbor:"1,keyasint"`
	Bytes  int64  `cbor:"2,keyasint"`
}

func (SetLimits) wire() kind { return kind{"set-limits", 1} }

func (c SetLimits) check() error {
	if c.MaxRepositories < 0 {
		return fmt.Errorf("%d repositories at most", c.MaxRepositories)
	}
	if len(c.Quotas) > maxQuotas {
		return fmt.Errorf("%d quotas, at most %d", len(c.Quotas), maxQuotas)
	}
	for i, q := range c.Quotas {
		if i > 0 && q.Prefix <= c.Quotas[i-1].Prefix {
			return fmt.Errorf("quota of %q stands behind that of %q", q.Prefix, c.Quotas[i-1].Prefix)
		}
		if q.Bytes < 1 {
			return fmt.Errorf("quota of %q is %d bytes", q.Prefix, q.Bytes)
		}
		if q.Prefix == "" {
			continue
		}
		if err := oci.ValidateRepository(q.Prefix); err != nil {
			return fmt.Errorf("quota of %q: %w", q.Prefix, err)
		}
	}
	return nil
}

func (c SetLimits) apply(t *tx) (None, error) {
	wanted := map[string]bool{}
	for _, q := range c.Quotas {
		wanted[string(within(q.Prefix))] = true
	}
	for _, key := range t.first(quotas, nil, maxQuotas) {
		if !wanted[string(key)] {
			t.del(quotas, key)
		}
	}
	for _, q := range c.Quotas {
		t.save(quotas, within(q.Prefix), q.Bytes)
	}
	if next := (limitsRecord{c.MaxRepositories, uint64(len(c.Quotas))}); next == (limitsRecord{}) {
		t.del(meta, keyLimits)
	} else {
		t.save(meta, keyLimits, next)
	}
	return None{}, nil
}
