package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	maxUnfit    = 100 // findings about a state that are spelled out
	namesAtOnce = 1000
)

// checkPages checks a state that is too large for one view: each blob with its links, each manifest with what it
// names, each tag, and what each repository has in a view of its own, then all sums (invariants 2, 3, 5, 7 and 11). What stands in an index
// without a record it does not see, but the sums would not be those of the other nodes.
func (c *selfCheck) checkPages(ctx context.Context) error {
	p := &pagedCheck{selfCheck: c}
	if err := p.blobs(ctx); err != nil {
		return err
	}
	if err := errors.Join(p.repositories(ctx), p.used(ctx)); err != nil {
		return err
	}
	for {
		err := c.state.Recount(ctx, c.pace)
		if !errors.Is(err, fsm.ErrBusy) {
			return err
		}
		sleep(ctx, time.Second) // another one is under way
	}
}

// pagedCheck is a check of a large state.
type pagedCheck struct {
	*selfCheck
	records int64
	unfits  int
}

func (p *pagedCheck) found(format string, args ...any) {
	if p.unfits++; p.unfits <= maxUnfit {
		p.unfit(fmt.Sprintf(format, args...))
	}
}

// each looks at one record in a view of its own.
func (p *pagedCheck) each(ctx context.Context, look func(v fsm.View)) error {
	if err := p.pace(ctx, statCost); err != nil {
		return err
	}
	p.records++
	p.progress(p.records)
	return p.state.View(func(v fsm.View) error { look(v); return nil })
}

// blobs goes through all blobs by how many copies they have. One that moves from one number to another meanwhile may
// be passed over.
func (p *pagedCheck) blobs(ctx context.Context) error {
	var stores []fsm.Store
	most := 0
	if err := p.state.View(func(v fsm.View) error { stores, most = v.Stores(), len(v.Nodes()); return nil }); err != nil {
		return err
	}
	for _, s := range stores {
		for n := range most + 1 {
			for after := fsm.Digest(""); ; {
				var page []fsm.Digest
				if err := p.state.View(func(v fsm.View) error { page = v.WithCopies(s.Name, n, after, selfPage); return nil }); err != nil {
					return err
				}
				for _, d := range page {
					if err := p.each(ctx, func(v fsm.View) { p.blob(v, s.Name, d) }); err != nil {
						return err
					}
					after = d
				}
				if len(page) == 0 {
					break
				}
			}
		}
	}
	return nil
}

// blob compares a blob with its locations, its links, and what names it.
func (p *pagedCheck) blob(v fsm.View, store string, d fsm.Digest) {
	b, known := v.Blob(store, d)
	if !known {
		return
	}
	of := fmt.Sprintf("blob %s in store %s", d, store)
	for _, l := range b.Copies {
		if state, of2 := v.Copy(store, l.Location); state != fsm.CopyRecorded || of2 != d {
			p.found("invariant 5: %s: copy %s on %s is not recorded as its", of, l.Copy, l.Incarnation)
		}
	}
	links := uint64(0)
	for after := ""; ; {
		page := v.LinkedIn(store, d, after, namesAtOnce)
		for _, repository := range page {
			links++
			after = repository
			p.link(v, repository, d)
		}
		if len(page) == 0 {
			break
		}
	}
	if links != b.Links {
		p.found("%s counts %d links and has %d", of, b.Links, links)
	}
}

// link compares the count of a link with the manifests that name the blob (invariant 3).
func (p *pagedCheck) link(v fsm.View, repository string, d fsm.Digest) {
	l, _ := v.Link(repository, d) // one that has expired has no references
	named := uint64(0)
	for after := fsm.Digest(""); ; {
		page := v.NamedBy(repository, d, after, namesAtOnce)
		if len(page) == 0 {
			break
		}
		named, after = named+uint64(len(page)), page[len(page)-1]
	}
	if named != l.References {
		p.found("invariant 3: link %s of %s counts %d, %d manifests name it", d, repository, l.References, named)
	}
}

// repositories goes through all manifests and tags.
func (p *pagedCheck) repositories(ctx context.Context) error {
	for last := ""; ; {
		var page []string
		if err := p.state.View(func(v fsm.View) error { page = v.Catalog(last, selfPage); return nil }); err != nil {
			return err
		}
		for _, name := range page {
			if err := errors.Join(p.manifests(ctx, name), p.tags(ctx, name)); err != nil {
				return err
			}
			last = name
		}
		if len(page) == 0 {
			return nil
		}
	}
}

// used compares what repositories are said to have with what is in them, each in a view of its own, and what prefixes
// are said to have with that.
func (p *pagedCheck) used(ctx context.Context) error {
	check := func(of func(v fsm.View) []string) error {
		return p.each(ctx, func(v fsm.View) {
			for _, line := range of(v) {
				p.found("%s", line)
			}
		})
	}
	for last := ""; ; {
		var page []string
		if err := p.state.View(func(v fsm.View) error { page = v.Repositories(last, selfPage); return nil }); err != nil {
			return err
		}
		for _, name := range page {
			if err := check(func(v fsm.View) []string { return v.CheckUsed(name) }); err != nil {
				return err
			}
			last = name
		}
		if len(page) == 0 {
			return check(fsm.View.CheckUsedBelow)
		}
	}
}

func (p *pagedCheck) manifests(ctx context.Context, repository string) error {
	for after := fsm.Digest(""); ; {
		var page []fsm.Manifest
		if err := p.state.View(func(v fsm.View) error { page = v.Manifests(repository, after, selfPage); return nil }); err != nil {
			return err
		}
		for _, m := range page {
			if err := p.each(ctx, func(v fsm.View) { p.manifest(v, repository, m.Digest) }); err != nil {
				return err
			}
			after = m.Digest
		}
		if len(page) == 0 {
			return nil
		}
	}
}

// manifest sees to it that all that a manifest names is there (invariant 2), and that its body is its own (11).
func (p *pagedCheck) manifest(v fsm.View, repository string, d fsm.Digest) {
	m, there := v.Manifest(repository, d)
	if !there {
		return
	}
	of := fmt.Sprintf("manifest %s of %s", d, repository)
	blobs, children := v.References(repository, d)
	for _, b := range blobs {
		if l, err := v.Link(repository, b); err != nil || l.References == 0 {
			p.found("invariant 2: %s names %s, which has no link", of, b)
		}
	}
	for _, child := range children {
		if _, there := v.Manifest(repository, child); !there {
			p.found("invariant 2: %s lists %s, which is not there", of, child)
		}
	}
	if u := d.Unpack(); m.Inline && u != "" && u.Algorithm().FromBytes(v.Body(repository, d)) != u {
		p.found("invariant 11: %s has another body", of)
	}
}

func (p *pagedCheck) tags(ctx context.Context, repository string) error {
	for last := ""; ; {
		more := false
		err := p.each(ctx, func(v fsm.View) {
			for _, t := range v.Tags(repository, last, selfPage) {
				last, more = t.Name, true
				if _, there := v.Manifest(repository, t.Digest); !there {
					p.found("tag %s of %s names %s, which is not there", t.Name, repository, t.Digest)
				}
			}
		})
		if err != nil || !more {
			return err
		}
	}
}
