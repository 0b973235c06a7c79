package main

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// doubt is what nodes said of the copies of one blob.
type doubt struct {
	held int // how many copies it had when they looked
	bad  map[fsm.Location]bool
	how  standing // once it is judged
}

// standing is how a blob stands.
type standing uint8

const (
	stands standing = iota // enough copies are true
	open                   // enough may be, on nodes that did not say
	thin                   // too few are true
	lost                   // none is
)

// compareBlobs judges each blob of which a copy is bad, or may be: whether as many are true as it must have
// (invariant 1), and whether those that manifests name have any (2). A bad copy stays bad, for its id is never
// written again; so all that may change meanwhile is the record, which is read after a round.
func (u *audit) compareBlobs(ctx context.Context) error {
	doubts := u.doubts()
	blind := map[entry.Incarnation]*audited{}
	for _, m := range u.members {
		if m.blind("") {
			blind[m.incarnation] = m
		}
	}
	if len(doubts) > 0 || len(blind) > 0 {
		_ = u.round(ctx) // that there is none was said
	}
	j := &blobJudge{audit: u, blind: blind}
	for name, d := range doubts {
		if err := j.judge(name, d); err != nil {
			return err
		}
	}
	for _, m := range u.members {
		if !m.blind("") {
			continue
		}
		if err := j.without(ctx, m, doubts); err != nil {
			return err
		}
	}
	j.more()
	return u.countBlobs()
}

// doubts are the blobs of which copies are bad.
func (u *audit) doubts() map[fsm.BlobName]*doubt {
	all := map[fsm.BlobName]*doubt{}
	for _, m := range u.members {
		for _, b := range m.bad {
			packed, err := fsm.Pack(digest.Digest(b.Digest))
			if b.Unsure || err != nil {
				continue // that it could not be learnt was said; or the node speaks otherwise
			}
			name := fsm.BlobName{Store: b.Store, Digest: packed}
			d := all[name]
			if d == nil {
				d = &doubt{bad: map[fsm.Location]bool{}}
				all[name] = d
			}
			d.held = max(d.held, b.Held)
			at := fsm.Location{Incarnation: m.incarnation, Copy: b.Copy}
			if b.Bucket {
				at.Incarnation = entry.Incarnation{}
			}
			d.bad[at] = true
		}
	}
	return all
}

// blobJudge judges blobs, and spells some out.
type blobJudge struct {
	*audit
	blind  map[entry.Incarnation]*audited // to some store at least
	breaks int                            // how many are thin or lost
}

// judge judges one blob.
func (j *blobJudge) judge(name fsm.BlobName, d *doubt) error {
	what := ""
	err := j.state.View(func(v fsm.View) error {
		d.how, what = j.stand(v, name, d)
		return nil
	})
	if d.how < thin {
		return err
	}
	if j.breaks++; j.breaks > maxSpelled {
		return err
	}
	if d.how == thin {
		j.broken(1, nil, mendBlob, "%s", what)
	} else {
		j.broken(2, nil, mendImage, "%s", what)
	}
	return err
}

// stand says how a blob stands by the record of now. As many copies must be true as it needed to be acknowledged, or
// as it had when the nodes looked: one that is known to have fewer waits for repair, as all do when a node has joined
// or was lost.
func (j *blobJudge) stand(v fsm.View, name fsm.BlobName, d *doubt) (standing, string) {
	b, known := v.Blob(name.Store, name.Digest)
	if !known || b.Damaged || b.Links == 0 {
		return stands, ""
	}
	held, good, unknown := 0, 0, 0
	for _, c := range b.Copies {
		switch {
		case !c.Held:
			continue
		case d.bad[c.Location]:
		case j.blind[c.Incarnation] != nil && j.blind[c.Incarnation].blind(name.Store):
			unknown++
		default:
			good++
		}
		held++
	}
	need := min(v.Need(name.Store), max(held, d.held))
	switch {
	case good >= need:
		return stands, ""
	case good+unknown >= need:
		return open, ""
	}
	if by := namer(v, name); good+unknown == 0 && by != "" {
		return lost, fmt.Sprintf("no copy of blob %s%s is true, and %s names it", name.Digest, besides(name.Store), by)
	}
	return thin, fmt.Sprintf("true copies of blob %s%s are %d, and must be %d", name.Digest, besides(name.Store), good+unknown, need)
}

// namer is a manifest that names a blob, "" if there is none.
func namer(v fsm.View, name fsm.BlobName) string {
	for after := ""; ; {
		page := v.LinkedIn(name.Store, name.Digest, after, selfPage)
		for _, repository := range page {
			if by := v.NamedBy(repository, name.Digest, "", 1); len(by) > 0 {
				return fmt.Sprintf("manifest %s of %s", by[0], repository)
			}
			after = repository
		}
		if len(page) == 0 {
			return ""
		}
	}
}

// without judges all blobs that have a copy on a node whose copies are not known, and says for how many that leaves
// it open whether they have enough.
func (j *blobJudge) without(ctx context.Context, m *audited, doubts map[fsm.BlobName]*doubt) error {
	left := 0
	for after := (fsm.BlobName{}); left < maxCounted; {
		var page []fsm.BlobName
		if err := j.state.View(func(v fsm.View) error { page = v.On(m.incarnation, after, selfPage); return nil }); err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, name := range page {
			if !m.blind(name.Store) {
				continue
			}
			d := doubts[name]
			if d == nil { // not one of them is known to be bad, so that nothing worse comes of it than open
				d = &doubt{}
				if err := j.judge(name, d); err != nil {
					return err
				}
			}
			if d.how == open {
				left++
			}
		}
		after = page[len(page)-1]
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if left > 0 {
		j.unchecked(m.name, "whether %s: too few are on the nodes that answered",
			pluralCounted(left, "blob has as many true copies as it must", "blobs have as many true copies as they must"))
	}
	return nil
}

// more says how many blobs were not spelled out.
func (j *blobJudge) more() {
	if n := j.breaks - maxSpelled; n > 0 {
		j.broken(1, nil, mendBlob, "%s too few true copies", plural(n, "more blob has", "more blobs have"))
	}
}

// countBlobs says what the state itself knows to be wrong: blobs whose last copy was found bad, and those that wait
// for copies.
func (u *audit) countBlobs() error {
	return u.state.View(func(v fsm.View) error {
		for _, s := range v.Stores() {
			u.damagedBlobs(v, s.Name)
			waiting := 0
			for n := 1; n < v.Need(s.Name); n++ {
				for _, d := range v.WithCopies(s.Name, n, "", maxCounted-waiting) {
					if b, _ := v.Blob(s.Name, d); b.Links > 0 && !b.Damaged {
						waiting++
					}
				}
			}
			if waiting > 0 {
				u.verdict.Hints = append(u.verdict.Hints, fmt.Sprintf("%s for repair, with fewer copies than are needed to acknowledge a push: "+
					"a node joined, or a disk was lost", pluralCounted(waiting, "blob waits", "blobs wait")))
			}
		}
		return nil
	})
}

func (u *audit) damagedBlobs(v fsm.View, store string) {
	more := 0
	for i, d := range v.Damaged(store, "", maxCounted) {
		by := namer(v, fsm.BlobName{Store: store, Digest: d})
		switch {
		case by == "": // a push heals it, or it is collected
		case i < maxSpelled:
			u.broken(2, nil, mendImage, "blob %s%s is damaged: no good copy is left, and %s names it", d, besides(store), by)
		default:
			more++
		}
	}
	if more > 0 {
		u.broken(2, nil, mendImage, "%s damaged that manifests name", pluralCounted(more, "more blob is", "more blobs are"))
	}
}

// pluralCounted is plural of what is counted to maxCounted.
func pluralCounted(n int, one, many string) string {
	if n >= maxCounted {
		return counted(n) + " " + many
	}
	return plural(n, one, many)
}
