package retention

import (
	"context"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// maxShown is how many tags and manifests a preview has.
const maxShown = 10_000

// Preview is what would become of one repository.
type Preview struct {
	Repository                string
	Policy                    int // which of the policies is for it; -1: none, and everything stays
	Tags, Manifests           int // how many there are, of manifests those that no tag names and no index lists
	GoingTags, GoingManifests int
	Things                    []Thing // what goes, or all; so many at most
}

// Previews says what would become of repositories of a store at a date, from the one behind after on: of so
// many as a run of the job looks at. There are more behind them, if it says so. It changes nothing.
func (p *Policies) Previews(ctx context.Context, state State, store, after string, date time.Time, all bool) (page []Preview, more bool, err error) {
	var names []string
	at := moment{date: date.UnixMilli()}
	err = state.View(func(v fsm.View) error {
		s, _ := v.Store(store)
		at.gcDelay = s.GCDelay
		names = v.Catalog(after, catalogPage)
		return nil
	})
	for looks := maxLooks; err == nil && len(names) > 0 && looks > 0; names = names[1:] {
		var one Preview
		one, err = p.preview(ctx, state, store, names[0], at, all)
		page = append(page, one)
		looks -= 1 + one.Tags + one.Manifests
	}
	return page, len(page) == catalogPage || len(names) > 0, err
}

func (p *Policies) preview(ctx context.Context, state State, store, name string, at moment, all bool) (Preview, error) {
	is := Preview{Repository: name, Policy: -1}
	one, err := p.in(state, store, name)
	if one == nil || err != nil {
		return is, err
	}
	r, err := one.read(ctx, state, name, true)
	is.Policy, is.Tags, is.Manifests = one.number, len(r.tags), len(r.manifests)
	for t := range one.judge(r, at) {
		switch {
		case t.Goes && t.Tag != "":
			is.GoingTags++
		case t.Goes:
			is.GoingManifests++
		}
		if (all || t.Goes) && len(is.Things) < maxShown {
			is.Things = append(is.Things, t)
		}
	}
	return is, err
}
