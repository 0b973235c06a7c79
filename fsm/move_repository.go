package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// MoveRepository makes another store that of a repository: what is pushed from now on goes there, and what is in other
// stores is brought there by MoveLink, one blob after the other. Whoever reads finds each blob by its link meanwhile. It
// may be moved again, or back, at any time; where it is to be in already changes nothing.
//
// Refused with:
//   - ErrRepositoryUnknown
//   - ErrStoreUnknown if the state has no record of the store
type MoveRepository struct {
	Repository string `cbor:"1,keyasint"`
	To         string `cbor:"2,keyasint"`
}

func (MoveRepository) wire() kind { return kind{"move-repository", 1} }

func (c MoveRepository) check() error {
	return errors.Join(oci.ValidateRepository(c.Repository), inStore(c.To))
}

func (c MoveRepository) apply(t *tx) (None, error) {
	r, exists := t.repository(c.Repository)
	if !exists {
		return None{}, ErrRepositoryUnknown.with("%s", c.Repository)
	}
	if _, known := t.store(c.To); !known {
		return None{}, ErrStoreUnknown.with("%s", c.To)
	}
	if r.Store != c.To {
		t.changeRepository(c.Repository, "", func(r *repositoryRecord) { r.move(c.To) })
	}
	return None{}, nil
}
