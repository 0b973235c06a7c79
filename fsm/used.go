package fsm

import (
	"iter"
	"maps"
	"slices"
)

// Used is what some repositories have. Bytes are those of the blobs that each has a link record for, expired ones
// too, and of the manifests whose bodies are in the state. What several repositories have counts in each: a quota is
// about what its users can see, not about how well they share.
type Used struct {
	Bytes        int64 `cbor:"1,keyasint,omitempty" json:"bytes"`
	Repositories int64 `cbor:"2,keyasint,omitempty" json:"repositories"`
}

func (u Used) plus(v Used) Used { return Used{u.Bytes + v.Bytes, u.Repositories + v.Repositories} }

// minus makes a change of what there was and what there is.
func (u Used) minus(v Used) Used { return Used{u.Bytes - v.Bytes, u.Repositories - v.Repositories} }

// above yields the prefixes, of whole components, that a repository lies below: for a/b/c "", a and a/b.
func above(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield("") {
			return
		}
		for i := range len(name) {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// usedBelow is what the repositories below a prefix have, "" being above all of them, without the one that is called
// like the prefix itself.
func (r reader) usedBelow(prefix string) Used {
	u, _ := load[Used](r, below, within(prefix))
	return u
}

// used is what a repository and all those below it have; of "" what all have.
func (r reader) used(prefix string) Used {
	if prefix == "" {
		return r.usedBelow("")
	}
	repo, exists := r.repository(prefix)
	return r.usedBelow(prefix).plus(repo.used(exists))
}

// used is what a repository itself has.
func (r repositoryRecord) used(exists bool) Used {
	if !exists {
		return Used{}
	}
	return Used{Bytes: r.Bytes, Repositories: 1}
}

// grow notes what a repository has more, or less, than before. The prefixes above it hear of it when the command is
// done, each once, however many links it has changed.
func (t *tx) grow(name string, by Used) {
	if by == (Used{}) {
		return
	}
	if t.grown == nil {
		t.grown = map[string]Used{}
	}
	for prefix := range above(name) {
		t.grown[prefix] = t.grown[prefix].plus(by)
	}
}

// countGrown tells the prefixes what the command has changed.
func (t *tx) countGrown() {
	for _, prefix := range slices.Sorted(maps.Keys(t.grown)) {
		if now := t.usedBelow(prefix).plus(t.grown[prefix]); now == (Used{}) {
			t.del(below, within(prefix))
		} else {
			t.save(below, within(prefix), now)
		}
	}
	clear(t.grown)
}

// Used returns what the repository that is called like a prefix and all those below it have, in whole components:
// team/app is below team, and teams is not. "" is above all.
func (v View) Used(prefix string) Used { return v.used(prefix) }
