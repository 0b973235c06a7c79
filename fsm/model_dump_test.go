package fsm_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// facts is what the views must say, in terms of their own results. The model and the state both have
// them; the test compares what describe makes of either.
type facts interface {
	nodes() []entry.Node
	membership() string
	uncleared() []entry.Incarnation
	on(i entry.Incarnation) []fsm.BlobName
	held(i entry.Incarnation) fsm.Held
	sole(i entry.Incarnation) []fsm.BlobName
	doomedOn(i entry.Incarnation) []fsm.DoomedCopy
	store(name string) string
	expired(store string) []fsm.LinkName
	unlinked(store string) []fsm.Digest
	damaged(store string) []fsm.Digest
	withCopies(store string, n int) []fsm.Digest
	blob(store string, d fsm.Digest) string
	linkedIn(store string, d fsm.Digest) []string
	catalog() []string
	vacant() []string
	moving() []string
	strays(name string) []fsm.Stray
	repository(name string) string
	link(name string, d fsm.Digest) string
	tags(name string) []fsm.Tag
	deletedTags(name string) []string
	history(name, tag string) fsm.TagHistory
	manifest(name string, d fsm.Digest) string
	loose(name string) []fsm.Digest
	referrers(name string, subject fsm.Digest, kind string) []fsm.Digest
	limits() string
	used(prefix string) fsm.Used
}

// describe is all facts about a universe, a line each.
func describe(f facts, u *universe) []string {
	var lines []string
	add := func(what string, args ...any) { lines = append(lines, what+fmt.Sprintf(" %v", args)) }
	add("nodes", f.nodes(), f.membership(), f.uncleared())
	for _, i := range append(u.nodes, entry.Incarnation{}) {
		add("on", i.Short(), f.on(i), f.held(i), "sole", f.sole(i), "doomed", f.doomedOn(i))
	}
	for _, s := range u.stores {
		add("store", s, f.store(s), "expired", f.expired(s), "unlinked", f.unlinked(s), "damaged", f.damaged(s))
		for n := range 5 {
			add("copies", n, f.withCopies(s, n))
		}
		for _, d := range u.digests {
			add("blob", s, d, f.blob(s, d), f.linkedIn(s, d))
		}
	}
	add("limits", f.limits())
	for _, prefix := range u.prefixes {
		add("used", prefix, f.used(prefix))
	}
	add("catalog", f.catalog(), "vacant", f.vacant(), "moving", f.moving())
	for _, name := range u.repositories {
		add("repository", name, f.repository(name), f.tags(name), "deleted", f.deletedTags(name), "loose", f.loose(name), "strays", f.strays(name))
		for _, tag := range u.tags {
			add("history", name, tag, f.history(name, tag))
		}
		for _, d := range u.digests {
			add("in", name, d, f.link(name, d), f.manifest(name, d))
			for _, kind := range []string{"", "k1", "k2"} {
				add("referrers", d, kind, f.referrers(name, d, kind))
			}
		}
	}
	return lines
}

// The facts of the state, through its views, in small pages.
type viewFacts struct{ v fsm.View }

// pages gathers all pages of a view.
func pages[K any](next func(after K, n int) []K) []K {
	var all []K
	var after K
	for {
		page := next(after, 3)
		all = append(all, page...)
		if len(page) < 3 {
			return all
		}
		after = page[len(page)-1]
	}
}

func (f viewFacts) nodes() []entry.Node { return f.v.Nodes() }

func (f viewFacts) membership() string {
	return fmt.Sprint(f.v.Members(), f.v.Retirement(), f.v.Draining())
}

func (f viewFacts) uncleared() []entry.Incarnation { return f.v.Uncleared() }

func (f viewFacts) on(i entry.Incarnation) []fsm.BlobName {
	return pages(func(after fsm.BlobName, n int) []fsm.BlobName { return f.v.On(i, after, n) })
}

func (f viewFacts) held(i entry.Incarnation) fsm.Held { return f.v.Held(i) }

func (f viewFacts) sole(i entry.Incarnation) []fsm.BlobName {
	return pages(func(after fsm.BlobName, n int) []fsm.BlobName { return f.v.Sole(i, after, n) })
}

func (f viewFacts) doomedOn(i entry.Incarnation) []fsm.DoomedCopy {
	return pages(func(after fsm.DoomedCopy, n int) []fsm.DoomedCopy { return f.v.Doomed(i, after, n) })
}

func (f viewFacts) store(name string) string {
	s, known := f.v.Store(name)
	return fmt.Sprint(known, f.v.HasCopies(name), s, f.v.Need(name))
}

func (f viewFacts) expired(store string) []fsm.LinkName { return f.v.Expired(store, 1000) }

func (f viewFacts) unlinked(store string) []fsm.Digest {
	return pages(func(after fsm.Digest, n int) []fsm.Digest { return f.v.Unlinked(store, after, n) })
}

func (f viewFacts) damaged(store string) []fsm.Digest {
	return pages(func(after fsm.Digest, n int) []fsm.Digest { return f.v.Damaged(store, after, n) })
}

func (f viewFacts) withCopies(store string, copies int) []fsm.Digest {
	return pages(func(after fsm.Digest, n int) []fsm.Digest { return f.v.WithCopies(store, copies, after, n) })
}

func (f viewFacts) blob(store string, d fsm.Digest) string {
	b, known := f.v.Blob(store, d)
	for _, c := range b.Copies {
		if state, of := f.v.Copy(store, c.Location); state != fsm.CopyRecorded || of != d {
			return fmt.Sprintf("copy %s is %d of %s", c.Copy, state, of)
		}
	}
	return fmt.Sprint(known, b)
}

func (f viewFacts) linkedIn(store string, d fsm.Digest) []string {
	return pages(func(after string, n int) []string { return f.v.LinkedIn(store, d, after, n) })
}

func (f viewFacts) catalog() []string { return pages(f.v.Catalog) }

func (f viewFacts) vacant() []string { return pages(f.v.Vacant) }

func (f viewFacts) moving() []string { return pages(f.v.Moving) }

func (f viewFacts) strays(name string) (all []fsm.Stray) {
	for after, more := fsm.Digest(""), true; more; more = after != "" {
		var page []fsm.Stray
		page, after = f.v.Strays(name, after, 3)
		for _, s := range page {
			if one, is := f.v.Stray(name, s.Digest); !is || one != s {
				s.Store = "is another"
			}
			all = append(all, s)
		}
	}
	return all
}

func (f viewFacts) repository(name string) string {
	r, err := f.v.Repository(name)
	return fmt.Sprint(r, err == nil)
}

func (f viewFacts) link(name string, d fsm.Digest) string {
	l, err := f.v.Link(name, d)
	return fmt.Sprint(l, err == nil)
}

func (f viewFacts) tags(name string) []fsm.Tag {
	return pages(func(after fsm.Tag, n int) []fsm.Tag { return f.v.Tags(name, after.Name, n) })
}

func (f viewFacts) deletedTags(name string) []string { return f.v.DeletedTags(name) }

func (f viewFacts) history(name, tag string) fsm.TagHistory { return f.v.TagHistory(name, tag) }

func (f viewFacts) manifest(name string, d fsm.Digest) string {
	m, there := f.v.Manifest(name, d)
	if !there {
		return "absent"
	}
	blobs, manifests := f.v.References(name, d)
	for _, b := range blobs {
		if !slices.Contains(pages(func(after fsm.Digest, n int) []fsm.Digest { return f.v.NamedBy(name, b, after, n) }), d) {
			return fmt.Sprintf("does not name %s", b)
		}
	}
	tags := pages(func(after string, n int) []string { return f.v.TagsOf(name, d, after, n) })
	listed := pages(func(after fsm.Digest, n int) []fsm.Digest { return f.v.ListedBy(name, d, after, n) })
	count, newest := f.v.Pulls(name, d)
	return fmt.Sprint(m, string(f.v.Body(name, d)), blobs, manifests, tags, listed, count, newest)
}

func (f viewFacts) loose(name string) []fsm.Digest {
	return pages(func(after fsm.Digest, n int) []fsm.Digest { return f.v.Loose(name, after, n) })
}

func (f viewFacts) referrers(name string, subject fsm.Digest, kind string) []fsm.Digest {
	var all []fsm.Digest
	for _, r := range pages(func(after fsm.Referrer, n int) []fsm.Referrer { return f.v.Referrers(name, subject, kind, after, n) }) {
		all = append(all, r.Digest)
	}
	return all
}

func (f viewFacts) limits() string {
	readOnly, is := f.v.ReadOnly()
	return fmt.Sprint(f.v.Limits(), readOnly, is, f.v.Writable() == nil)
}

func (f viewFacts) used(prefix string) fsm.Used { return f.v.Used(prefix) }

// The facts of the model.
type modelFacts struct{ *model }

func (f modelFacts) nodes() []entry.Node {
	var all []entry.Node
	for _, n := range f.model.nodes {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b entry.Node) int { return bytes.Compare(a.Incarnation[:], b.Incarnation[:]) })
	return all
}

func (f modelFacts) membership() string {
	var draining []entry.Incarnation
	for _, n := range f.nodes() {
		if f.draining[n.Incarnation] {
			draining = append(draining, n.Incarnation)
		}
	}
	return fmt.Sprint(f.members(), f.retirements, draining)
}

func (f modelFacts) limits() string {
	all := fsm.Limits{MaxRepositories: f.maxRepos}
	for _, prefix := range sorted(f.quotas) {
		all.Quotas = append(all.Quotas, fsm.Quota{Prefix: prefix, Bytes: f.quotas[prefix]})
	}
	if f.readOnly != nil {
		return fmt.Sprint(all, *f.readOnly, true, false)
	}
	return fmt.Sprint(all, fsm.ReadOnly{}, false, true)
}

func (f modelFacts) used(prefix string) fsm.Used { return f.usedAt(prefix) }

func (f modelFacts) uncleared() []entry.Incarnation { return f.ghosts(true) }

func (f modelFacts) on(i entry.Incarnation) []fsm.BlobName {
	if i.IsZero() {
		return nil
	}
	return f.model.on(i)
}

func (f modelFacts) held(i entry.Incarnation) (all fsm.Held) {
	for _, b := range f.blobs {
		if b.on(i) >= 0 {
			all.Copies++
			all.Bytes += b.size
		}
	}
	return all
}

func (f modelFacts) sole(i entry.Incarnation) []fsm.BlobName {
	if i.IsZero() {
		return nil
	}
	return f.model.sole(i)
}

func (f modelFacts) doomedOn(i entry.Incarnation) []fsm.DoomedCopy {
	var all []fsm.DoomedCopy
	for c := range f.doomed {
		if c.at == i {
			all = append(all, fsm.DoomedCopy{Store: c.store, Copy: c.id})
		}
	}
	slices.SortFunc(all, func(a, b fsm.DoomedCopy) int {
		return cmp.Or(cmp.Compare(a.Store, b.Store), bytes.Compare(a.Copy[:], b.Copy[:]))
	})
	return all
}

func (f modelFacts) store(name string) string {
	s, known := f.stores[name]
	delay := time.Hour
	if known {
		delay = s.delay
	}
	highest, lowest := f.delays(name)
	replicas, acks := f.numbers(name)
	place, _ := f.place(name)
	return fmt.Sprint(known, f.holdsOf(name), fsm.Store{Name: name, GCDelay: delay, Place: place, Numbers: fsm.Numbers{
		Lease: highest, ShortLease: lowest, Window: window(lowest), KeepWindow: window(highest),
		Unknown: 3 * window(highest), Replicas: replicas, WriteAcks: acks,
	}}, f.need(name))
}

func (f modelFacts) expired(store string) []fsm.LinkName {
	type old struct {
		fsm.LinkName
		since entry.Time
	}
	var all []old
	for name, r := range f.repos {
		for d, l := range r.links {
			if l.store == store && !f.linkExists(name, d) {
				all = append(all, old{fsm.LinkName{Repository: name, Digest: d}, l.since})
			}
		}
	}
	slices.SortFunc(all, func(a, b old) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Digest, b.Digest))
	})
	var names []fsm.LinkName
	for _, o := range all {
		names = append(names, o.LinkName)
	}
	return names
}

// digestsOf is the blobs of a store that are as asked for.
func (f modelFacts) digestsOf(store string, is func(fsm.BlobName, *modelBlob) bool) []fsm.Digest {
	var all []fsm.Digest
	for name, b := range f.blobs {
		if name.Store == store && is(name, b) {
			all = append(all, name.Digest)
		}
	}
	slices.Sort(all)
	return all
}

func (f modelFacts) unlinked(store string) []fsm.Digest {
	return f.digestsOf(store, func(name fsm.BlobName, _ *modelBlob) bool { return len(f.linksOf(name)) == 0 })
}

func (f modelFacts) damaged(store string) []fsm.Digest {
	return f.digestsOf(store, func(_ fsm.BlobName, b *modelBlob) bool { return b.damaged })
}

func (f modelFacts) withCopies(store string, n int) []fsm.Digest {
	return f.digestsOf(store, func(_ fsm.BlobName, b *modelBlob) bool { return len(b.copies) == n })
}

func (f modelFacts) blob(store string, d fsm.Digest) string {
	name := fsm.BlobName{Store: store, Digest: d}
	b, known := f.blobs[name]
	if !known {
		return fmt.Sprint(false, fsm.Blob{})
	}
	want := fsm.Blob{
		BlobName: name, Size: b.size, Damaged: f.broken(b), Links: uint64(len(f.linksOf(name))),
		Counting: f.counting(b), Vouched: f.vouched(b),
	}
	for _, l := range b.copies {
		want.Copies = append(want.Copies, fsm.Copy{
			Location: l.Location, Counts: f.counts(l.Incarnation), Held: f.holds(l.Incarnation), Vouched: l.vouched == f.retirements,
		})
	}
	return fmt.Sprint(true, want)
}

func (f modelFacts) linkedIn(store string, d fsm.Digest) []string {
	return f.linksOf(fsm.BlobName{Store: store, Digest: d})
}

func (f modelFacts) catalog() []string {
	return slices.DeleteFunc(sorted(f.repos), func(name string) bool { return len(f.repos[name].manifests) == 0 })
}

func (f modelFacts) vacant() []string {
	return slices.DeleteFunc(sorted(f.repos), func(name string) bool {
		return len(f.repos[name].manifests) > 0 || len(f.repos[name].links) > 0
	})
}

func (f modelFacts) moving() []string {
	return slices.DeleteFunc(sorted(f.repos), func(name string) bool { return len(f.elsewhere(name)) == 0 })
}

func (f modelFacts) strays(name string) (all []fsm.Stray) {
	r := f.repos[name]
	if r == nil {
		return nil
	}
	for _, d := range sorted(r.links) {
		if l := r.links[d]; l.store != r.store {
			all = append(all, fsm.Stray{Digest: d, Store: l.store, Size: f.blobOf(name, d).size, Expired: !f.linkExists(name, d)})
		}
	}
	return all
}

func (f modelFacts) repository(name string) string {
	r := f.repos[name]
	if r == nil {
		return fmt.Sprint(fsm.Repository{}, false)
	}
	return fmt.Sprint(fsm.Repository{
		Name: name, Store: r.store, Manifests: uint64(len(r.manifests)), Bytes: f.bytesOf(name),
		Links: f.linksTo(name, ""), Elsewhere: f.elsewhere(name),
	}, true)
}

func (f modelFacts) link(name string, d fsm.Digest) string {
	if !f.linkExists(name, d) {
		return fmt.Sprint(fsm.Link{}, false)
	}
	r := f.repos[name]
	b := f.blobOf(name, d)
	l := fsm.Link{Store: r.links[d].store, Size: b.size, Damaged: f.broken(b), References: r.referencesTo(d)}
	if highest, lowest := f.delays(l.Store); l.References == 0 {
		l.Left = r.links[d].since.Add(highest).Sub(f.now)
		l.Renew = r.links[d].since.Add(lowest).Sub(f.now) < lowest/2+time.Duration(f.tick())
	}
	return fmt.Sprint(l, true)
}

func (f modelFacts) tags(name string) []fsm.Tag {
	var all []fsm.Tag
	if r := f.repos[name]; r != nil {
		for _, tag := range sorted(r.tags) {
			all = append(all, fsm.Tag{Name: tag, Digest: r.tags[tag].digest, NamedAt: r.tags[tag].named, PushedAt: r.tags[tag].pushed})
		}
	}
	return all
}

func (f modelFacts) deletedTags(name string) []string {
	r := f.repos[name]
	if r == nil {
		return nil
	}
	all := slices.DeleteFunc(sorted(r.past), func(tag string) bool { return r.past[tag].deleted == 0 })
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(r.past[b].deleted, r.past[a].deleted), cmp.Compare(b, a))
	})
	return all
}

func (f modelFacts) history(name, tag string) fsm.TagHistory {
	r := f.repos[name]
	if r == nil || r.past[tag] == nil {
		return fsm.TagHistory{}
	}
	return fsm.TagHistory{Deleted: r.past[tag].deleted != 0, Entries: r.past[tag].entries}
}

func (f modelFacts) manifest(name string, d fsm.Digest) string {
	r := f.repos[name]
	if r == nil || r.manifests[d] == nil {
		return "absent"
	}
	man := r.manifests[d]
	c := man.put
	children := slices.Compact(slices.Sorted(slices.Values(c.Manifests)))
	return fmt.Sprint(fsm.Manifest{
		Digest: d, Size: c.Size, MediaType: c.MediaType, Inline: len(c.Body) > 0, Subject: c.Subject,
		ArtifactType: c.ArtifactType, PushedAt: man.pushed, UntaggedAt: man.untagged,
	}, string(c.Body), sorted(man.blobs), children, r.tagsOf(d), r.listedBy(d), r.pulls[d].count, r.pulls[d].newest)
}

func (f modelFacts) loose(name string) []fsm.Digest {
	if r := f.repos[name]; r != nil {
		return r.loose()
	}
	return nil
}

func (f modelFacts) referrers(name string, subject fsm.Digest, kind string) []fsm.Digest {
	r := f.repos[name]
	if r == nil {
		return nil
	}
	all := slices.DeleteFunc(sorted(r.manifests), func(d fsm.Digest) bool {
		c := r.manifests[d].put
		return c.Subject != subject || kind != "" && c.ArtifactType != kind
	})
	slices.SortStableFunc(all, func(a, b fsm.Digest) int {
		return cmp.Compare(r.manifests[a].put.ArtifactType, r.manifests[b].put.ArtifactType)
	})
	return all
}
