package fsm

import "fmt"

// The bounds of one CollectRepositories.
const (
	maxCollectRepositories = 100
	collectTags            = 300 // deleted tags whose history goes; each is two keys
)

// CollectRepositories ends repositories that have neither a manifest nor a link, with the history of
// their deleted tags. It is judged again now: a push may have brought one back. One whose history is too
// much for this step stays for the next.
//
// It is never refused: what is in use, or not there, is passed over.
type CollectRepositories struct {
	Repositories []string `cbor:"1,keyasint"`
}

// RepositoriesCollected is the result of CollectRepositories.
type RepositoriesCollected struct {
	Repositories int `cbor:"1,keyasint,omitempty"`
}

func (CollectRepositories) wire() kind { return kind{"collect-repositories", 1} }

func (c CollectRepositories) check() error {
	if len(c.Repositories) == 0 || len(c.Repositories) > maxCollectRepositories {
		return fmt.Errorf("%d repositories are not 1 to %d", len(c.Repositories), maxCollectRepositories)
	}
	return nil
}

func (c CollectRepositories) apply(t *tx) (RepositoriesCollected, error) {
	var done RepositoriesCollected
	left := uint64(collectTags)
	for _, name := range c.Repositories {
		r, exists := t.repository(name)
		if !exists || r.Manifests > 0 || r.Links > 0 || r.Untagged > left {
			continue
		}
		left -= r.Untagged
		t.forgetUntagged(name, int(r.Untagged)) //nolint:gosec // at most maxUntagged
		t.removeRepository(name)
		done.Repositories++
	}
	return done, nil
}
