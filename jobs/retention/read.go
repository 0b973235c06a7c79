package retention

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
)

// pageSize is how many tags or manifests are read in one view, which nobody should keep open for long.
const pageSize = 500

// reading is a repository while it is read. What changes between two pages is judged by what either says; each
// command judges again what it removes.
type reading struct {
	repository

	name string
}

// read reads what a policy asks of a repository; its tags only if they are asked for.
func (p *policy) read(ctx context.Context, state State, name string, tags bool) (repository, error) {
	r := &reading{name: name}
	steps := []func(fsm.View) (more bool){r.begin}
	if tags {
		steps = append(steps, r.readTags)
	}
	if p.DeleteUntagged || p.DeleteReferrers {
		steps = append(steps, r.readManifests)
	}
	for _, step := range steps {
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return repository{}, err
			}
			err := state.View(func(v fsm.View) error { more = step(v); return nil })
			if err != nil {
				return repository{}, err
			}
		}
	}
	return r.repository, nil
}

// begin notes what the state is at the first page.
func (r *reading) begin(v fsm.View) (more bool) {
	r.seen = v.Position().Index
	return false
}

// readTags reads one more page of tags.
func (r *reading) readTags(v fsm.View) (more bool) {
	last := ""
	if len(r.tags) > 0 {
		last = r.tags[len(r.tags)-1].name
	}
	page := v.Tags(r.name, last, pageSize)
	for _, t := range page {
		one := tag{name: t.Name, digest: t.Digest, pushed: t.PushedAt}
		_, one.pulled = v.Pulls(r.name, t.Digest)
		if about := subjectOf(t.Name); about != nil {
			_, is := v.ManifestLike(r.name, about)
			one.subject = thereIf(is)
		}
		r.tags = append(r.tags, one)
	}
	return len(page) == pageSize
}

// readManifests reads one more page of the manifests that no tag names and no index lists.
func (r *reading) readManifests(v fsm.View) (more bool) {
	after := fsm.Digest("")
	if len(r.manifests) > 0 {
		after = r.manifests[len(r.manifests)-1].digest
	}
	page := v.Loose(r.name, after, pageSize)
	for _, d := range page {
		m, _ := v.Manifest(r.name, d)
		one := manifest{digest: d, pushed: m.PushedAt, untagged: m.UntaggedAt}
		_, one.pulled = v.Pulls(r.name, d)
		if m.Subject != "" {
			_, is := v.Manifest(r.name, m.Subject)
			one.subject = thereIf(is)
		}
		r.manifests = append(r.manifests, one)
	}
	return len(page) == pageSize
}

// subjectOf returns with what the digest of a tag's subject begins, packed; nil if its name says of none.
//
// There are tags that say whose signature, attestation or bill of materials they are, or whose referrers they
// list (distribution spec, "Referrers Tag Schema"; cosign's tags are alike): <algorithm>-<64 digits>, or that
// and a dot and letters. The schema cuts off what no tag has room for.
func subjectOf(tag string) []byte {
	name, rest, _ := strings.Cut(tag, "-")
	digits, kind, more := strings.Cut(rest, ".")
	algorithm := digest.Algorithm(name)
	if len(digits) != 64 || more != (kind != "") || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") != "" {
		return nil
	}
	lacks := 2*algorithm.Size() - len(digits)
	d, err := fsm.Pack(digest.NewDigestFromEncoded(algorithm, digits+strings.Repeat("0", max(0, lacks))))
	if err != nil {
		return nil
	}
	return []byte(d[:len(d)-lacks/2])
}
