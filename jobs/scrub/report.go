package scrub

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// maxDamaged is how many damaged blobs of the cluster are looked up.
const maxDamaged = 10_000

// Image is a tag of a repository, or a manifest without one that no index lists, and how it is.
type Image struct {
	Name, Tag string // Tag is a digest where there is none
	Error     string // "" if it is whole, as far as is known
}

// Images goes through all images of a store, repository by repository: those that need a bad blob are
// affected, and those that need one of which no good copy is left in the cluster. Bodies of manifests lie in
// the state, which checks them whenever they are read. It asks pace before each page, and ends with the error
// of each.
func Images(ctx context.Context, state State, store string, bad Bad, pace blobstore.Pace, each func(Image) error) error {
	r := &report{State: state, store: store, pace: pace, each: each}
	if err := r.collect(bad); err != nil {
		return err
	}
	for last := ""; ; {
		var page []string
		err := state.View(func(v fsm.View) error {
			page = v.Catalog(last, pageSize)
			return nil
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, repository := range page {
			if err := r.repository(ctx, repository); err != nil {
				return err
			}
			last = repository
		}
	}
}

// report is one way through all images.
type report struct {
	State
	store string
	pace  blobstore.Pace
	each  func(Image) error

	bad map[string]Bad // by repository
}

// collect finds the repositories of the blobs that are bad.
func (r *report) collect(bad Bad) error {
	r.bad = map[string]Bad{}
	blobs := maps.Clone(bad)
	if blobs == nil {
		blobs = Bad{}
	}
	err := r.View(func(v fsm.View) error {
		for _, d := range v.Damaged(r.store, "", maxDamaged) {
			why, here := blobs[d]
			if blobs[d] = "no good copy of it is left"; here {
				blobs[d] += "; " + why
			}
		}
		return nil
	})
	for d, why := range blobs {
		if err == nil {
			err = r.in(d, fmt.Sprintf("blob %s: %s", d, why))
		}
	}
	return err
}

// in notes a bad blob with each repository that sees it.
func (r *report) in(d fsm.Digest, why string) error {
	for last, more := "", true; more; {
		var page []string
		err := r.View(func(v fsm.View) error {
			page = v.LinkedIn(r.store, d, last, pageSize)
			return nil
		})
		if err != nil {
			return err
		}
		for _, repository := range page {
			if r.bad[repository] == nil {
				r.bad[repository] = Bad{}
			}
			r.bad[repository][d] = why
			last = repository
		}
		more = len(page) == pageSize
	}
	return nil
}

// repository reports the images of one repository: its tags, then what has none. Of one of another store, which is being
// moved there, it reports what needs a bad blob of this one.
func (r *report) repository(ctx context.Context, name string) error {
	mine := false
	err := r.View(func(v fsm.View) error {
		repository, gone := v.Repository(name)
		mine = gone == nil && repository.Store == r.store
		return nil
	})
	if err != nil || !mine && r.bad[name] == nil {
		return err
	}
	wrong, untagged, err := r.manifests(ctx, name)
	if err != nil {
		return err
	}
	each := func(i Image) error {
		if !mine && i.Error == "" {
			return nil
		}
		return r.each(i)
	}
	for last, more := "", true; more; {
		var page []fsm.Tag
		err := r.View(func(v fsm.View) error {
			page = v.Tags(name, last, pageSize)
			return nil
		})
		if err != nil {
			return err
		}
		for _, t := range page {
			if err := each(Image{name, t.Name, wrong[t.Digest]}); err != nil {
				return err
			}
			last = t.Name
		}
		more = len(page) == pageSize
	}
	for _, d := range untagged {
		if err := each(Image{name, d.String(), wrong[d]}); err != nil {
			return err
		}
	}
	return nil
}

// manifests returns what is wrong with manifests of a repository, and those that neither a tag nor an index
// names.
func (r *report) manifests(ctx context.Context, name string) (wrong Bad, untagged []fsm.Digest, err error) {
	wrong = Bad{}
	for after, more := fsm.Digest(""), true; more; {
		var page []fsm.Manifest
		err := r.View(func(v fsm.View) error {
			page = v.Manifests(name, after, pageSize)
			for _, m := range page {
				if len(v.TagsOf(name, m.Digest, "", 1)) == 0 && len(v.ListedBy(name, m.Digest, "", 1)) == 0 {
					untagged = append(untagged, m.Digest)
				}
			}
			return nil
		})
		if err == nil {
			err = r.pace(ctx, openCost)
		}
		if err != nil {
			return nil, nil, err
		}
		if more = len(page) == pageSize; more {
			after = page[len(page)-1].Digest
		}
	}
	err = r.View(func(v fsm.View) error {
		spread(v, name, r.bad[name], wrong)
		return nil
	})
	return wrong, untagged, err
}

// spread adds to wrong the manifests that name bad blobs, and the indexes that list what is wrong.
func spread(v fsm.View, repository string, bad, wrong Bad) {
	todo := make([]fsm.Digest, 0, len(wrong))
	for m := range wrong {
		todo = append(todo, m)
	}
	add := func(m fsm.Digest, why string) {
		if _, known := wrong[m]; !known {
			wrong[m] = why
			todo = append(todo, m)
		}
	}
	for d, why := range bad {
		for m := range all(func(after fsm.Digest) []fsm.Digest { return v.NamedBy(repository, d, after, pageSize) }) {
			add(m, why)
		}
	}
	for ; len(todo) > 0; todo = todo[1:] {
		for m := range all(func(after fsm.Digest) []fsm.Digest { return v.ListedBy(repository, todo[0], after, pageSize) }) {
			add(m, wrong[todo[0]])
		}
	}
}

// all goes through a list that comes in pages.
func all(page func(after fsm.Digest) []fsm.Digest) iter.Seq[fsm.Digest] {
	return func(yield func(fsm.Digest) bool) {
		for after, more := fsm.Digest(""), true; more; {
			digests := page(after)
			more = len(digests) == pageSize
			for _, d := range digests {
				if !yield(d) {
					return
				}
				after = d
			}
		}
	}
}

// imagesOf names images that need a blob, so many at most, without looking through all that need it.
func imagesOf(v fsm.View, store string, d fsm.Digest, most int) (names []string) {
	for _, repository := range v.LinkedIn(store, d, "", most) {
		todo := v.NamedBy(repository, d, "", most)
		for looked := 0; looked < len(todo) && looked < 10*most; looked++ {
			for _, tag := range v.TagsOf(repository, todo[looked], "", most-len(names)) {
				names = append(names, repository+":"+tag)
			}
			todo = append(todo, v.ListedBy(repository, todo[looked], "", most)...)
		}
	}
	return names
}
