package retention

import (
	"context"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
)

// pageSize is how many tags or manifests are read in one view, which nobody should keep open for long.
const pageSize = 500

// reading is a repository while it is read. What changes between two pages is judged by what either says;
// no command takes a repository's word for more than one tag or manifest.
type reading struct {
	repository

	name     string
	policy   *policy
	at       moment
	untagged map[fsm.Digest]int64 // when a tag last ceased to name a manifest; those that matter
	names    namesSubject
}

// read reads what a policy asks of a repository.
func (p *policy) read(ctx context.Context, state State, name string, at moment) (repository, error) {
	r := &reading{name: name, policy: p, at: at, untagged: map[fsm.Digest]int64{}, names: newNamesSubject()}
	steps := []func(fsm.View) (more bool){r.readTags}
	if p.DeleteUntagged || p.DeleteReferrers {
		steps = append(steps, r.readDeletedTags, r.readManifests)
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

// readTags reads one more page of tags.
func (r *reading) readTags(v fsm.View) (more bool) {
	last := ""
	if len(r.tags) > 0 {
		last = r.tags[len(r.tags)-1].name
	}
	page := v.Tags(r.name, last, pageSize)
	for _, t := range page {
		_, pulled := v.Pulls(r.name, t.Digest)
		r.tags = append(r.tags, tag{t.Name, t.Digest, t.PushedAt, pulled, r.names.subject(v, r.name, t.Name)})
		r.readHistory(v, t.Name)
	}
	return len(page) == pageSize
}

func (r *reading) readDeletedTags(v fsm.View) (more bool) {
	for _, name := range v.DeletedTags(r.name) {
		r.readHistory(v, name)
	}
	return false
}

// readHistory notes what a tag named before, if that is not so long ago that it makes no difference.
func (r *reading) readHistory(v fsm.View, tag string) {
	for _, e := range v.TagHistory(r.name, tag).Entries {
		if r.at.since(e.Until) < max(r.policy.delay, r.at.gcDelay) {
			r.untagged[e.Digest] = max(r.untagged[e.Digest], e.Until)
		}
	}
}

// readManifests reads one more page of manifests.
func (r *reading) readManifests(v fsm.View) (more bool) {
	after := fsm.Digest("")
	if len(r.manifests) > 0 {
		after = r.manifests[len(r.manifests)-1].digest
	}
	page := v.Manifests(r.name, after, pageSize)
	for _, m := range page {
		one := manifest{digest: m.Digest, pushed: m.PushedAt, untagged: r.untagged[m.Digest]}
		one.tagged, one.listed, one.subject = need(v, r.name, m)
		if !one.tagged && !one.listed && one.subject == none {
			_, one.pulled = v.Pulls(r.name, m.Digest)
		}
		r.manifests = append(r.manifests, one)
	}
	return len(page) == pageSize
}

// need says what a manifest is needed for.
func need(v fsm.View, repository string, m fsm.Manifest) (tagged, listed bool, s subject) {
	tagged = len(v.TagsOf(repository, m.Digest, "", 1)) > 0
	listed = len(v.ListedBy(repository, m.Digest, "", 1)) > 0
	if m.Subject != "" {
		s = missing
		if _, is := v.Manifest(repository, m.Subject); is {
			s = there
		}
	}
	return tagged, listed, s
}

// namesSubject knows the tags that say by their name whose signature, attestation or bill of materials they
// are, or whose referrers they list (distribution spec, "Referrers Tag Schema"; cosign's tags are alike).
type namesSubject struct{ form *regexp.Regexp }

func newNamesSubject() namesSubject {
	return namesSubject{regexp.MustCompile(`^(sha256|sha512)-([0-9a-f]{64})(\.[a-z]+)?$`)}
}

// subject says whether a tag is about a manifest, and whether that is there.
func (n namesSubject) subject(v fsm.View, repository, tag string) subject {
	if !strings.HasPrefix(tag, "sha") { // most
		return none
	}
	parts := n.form.FindStringSubmatch(tag)
	if parts == nil {
		return none
	}
	algorithm := digest.Algorithm(parts[1])
	lacks := 2*algorithm.Size() - len(parts[2]) // the schema cuts off what no tag has room for
	d, err := fsm.Pack(digest.NewDigestFromEncoded(algorithm, parts[2]+strings.Repeat("0", lacks)))
	if err != nil {
		return none
	}
	if _, is := v.Manifest(repository, d); is {
		return there
	}
	if beginning := d[:len(d)-lacks/2]; lacks > 0 {
		for _, m := range v.Manifests(repository, beginning, 1) {
			if strings.HasPrefix(string(m.Digest), string(beginning)) {
				return there
			}
		}
	}
	return missing
}
