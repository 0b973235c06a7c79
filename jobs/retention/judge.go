package retention

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// repository is what is known of a repository. All dates are Unix milliseconds, 0 for never.
type repository struct {
	seen      uint64 // log index of the oldest state that it was read from
	tags      []tag
	manifests []manifest
}

// tag is a tag that exists.
type tag struct {
	name    string
	digest  fsm.Digest
	pushed  int64   // when it was last pushed as this manifest
	pulled  int64   // when the manifest was pulled last, by this tag or any other name
	subject subject // whose signature or the like it is, as the name says
}

// manifest is a manifest that no tag names and no index lists.
type manifest struct {
	digest   fsm.Digest
	pushed   int64
	pulled   int64
	untagged int64 // when a tag last ceased to name it
	subject  subject
}

// subject says of a manifest or a tag whether it is about another manifest, and whether that is there.
type subject byte

const (
	none subject = iota
	there
	missing
)

func thereIf(is bool) subject {
	if is {
		return there
	}
	return missing
}

// Thing is a tag or a manifest, and what becomes of it.
type Thing struct {
	Tag            string // "" for a manifest
	Digest         fsm.Digest
	Pushed, Pulled int64 // Unix milliseconds, 0 for never
	Verdict
}

// Verdict says whether something goes, and why it does or does not.
type Verdict struct {
	Goes bool
	Why  string
}

func stays(why string) Verdict { return Verdict{Why: why} }
func goes(why string) Verdict  { return Verdict{Goes: true, Why: why} }

// moment is when a repository is judged: the date, and how long a lease is then.
type moment struct {
	date    int64
	gcDelay time.Duration
}

// since is how long ago a date was.
func (m moment) since(date int64) time.Duration { return time.Duration(m.date-date) * time.Millisecond }

// judge says of each tag, and of each manifest that nothing stands for, what becomes of it. A manifest that loses
// its last tag stays for now: the tag may be brought back.
func (p *policy) judge(r repository, at moment) iter.Seq[Thing] {
	return func(yield func(Thing) bool) {
		for i, v := range p.judgeTags(r.tags, at) {
			if t := r.tags[i]; !yield(Thing{t.name, t.digest, t.pushed, t.pulled, v}) {
				return
			}
		}
		for i, v := range p.judgeManifests(r.manifests, at) {
			if m := r.manifests[i]; !yield(Thing{"", m.digest, m.pushed, m.pulled, v}) {
				return
			}
		}
	}
}

// judgeTags says of each tag what becomes of it.
//
// Of the entries of KeepTags that match a tag, zot's page says that any may keep it, and zot's program asks
// the first alone and counts in each only those tags that no entry before it matched. What either keeps
// stays. A tag that only says whose signature it is belongs to that manifest, whatever the patterns say: to
// keep "v.*" must not strip what is kept of its signatures.
func (p *policy) judgeTags(tags []tag, at moment) []Verdict {
	verdicts := make([]Verdict, len(tags))
	if len(p.KeepTags) == 0 {
		for i := range tags {
			verdicts[i] = stays("the policy has no keepTags")
		}
		return verdicts
	}
	var open []int
	for i, t := range tags {
		if t.subject != none {
			verdicts[i] = p.judgeReferrer(t.subject, at.since(t.pushed), at)
			continue
		}
		verdicts[i] = goes("no entry of keepTags matches")
		open = append(open, i)
	}
	matched := make([]bool, len(tags))
	for n, keep := range p.KeepTags {
		var all, first []int
		for _, i := range open {
			if !p.matches(n, tags[i].name) {
				continue
			}
			all = append(all, i)
			if !matched[i] {
				matched[i] = true
				first = append(first, i)
				verdicts[i] = goes(fmt.Sprintf("no rule of keepTags[%d] is met", n))
			}
		}
		keep.among(tags, all, n, at, verdicts)
		if len(first) < len(all) {
			keep.among(tags, first, n, at, verdicts)
		}
	}
	return verdicts
}

// among keeps some tags, if the entry does, which is number n.
func (k KeepTags) among(tags []tag, some []int, n int, at moment, verdicts []Verdict) {
	things := make([]thing, len(some))
	for i, t := range some {
		things[i] = thing{tags[t].name, tags[t].pushed, tags[t].pulled}
	}
	for i, why := range k.kept(things, at) {
		if v := &verdicts[some[i]]; why != "" && v.Goes {
			*v = stays(fmt.Sprintf("keepTags[%d]: %s", n, why))
		}
	}
}

// kept says of each of the tags that an entry matches why it stays, "" if it does not.
func (k KeepTags) kept(things []thing, at moment) []string {
	if k.none() {
		return slices.Repeat([]string{"a pattern matches"}, len(things))
	}
	return k.Rules.kept(things, at)
}

// judgeReferrer is for what is about another manifest, and so old.
func (p *policy) judgeReferrer(s subject, age time.Duration, at moment) Verdict {
	switch young := max(p.delay, at.gcDelay); {
	case s == there:
		return stays("its subject is there")
	case !p.DeleteReferrers:
		return stays("its subject is not there, and deleteReferrers is off")
	case age < young: // it may have been pushed before its subject
		return stays(fmt.Sprintf("its subject is not there, and it is younger than %s", brief(young)))
	default:
		return goes("its subject is not there")
	}
}

// judgeManifests says of each manifest what becomes of it.
func (p *policy) judgeManifests(manifests []manifest, at moment) []Verdict {
	verdicts := make([]Verdict, len(manifests))
	var open []int
	var things []thing
	for i, m := range manifests {
		switch {
		case m.subject != none:
			verdicts[i] = p.judgeReferrer(m.subject, m.age(at), at)
		case !p.DeleteUntagged:
			verdicts[i] = stays("deleteUntagged is off")
		default:
			open = append(open, i)
			things = append(things, thing{string(m.digest), m.pushed, m.pulled})
		}
	}
	for i, why := range p.KeepUntagged.kept(things, at) {
		v := &verdicts[open[i]]
		switch {
		case why != "":
			*v = stays("keepUntagged: " + why)
		case manifests[open[i]].age(at) < 0: // the clock of the node that dated it, or this one, is wrong
			*v = stays("no tag names it, since a date that is yet to come")
		case manifests[open[i]].age(at) < p.delay:
			*v = stays(fmt.Sprintf("no tag names it, since less than %s", brief(p.delay)))
		default:
			*v = goes("no tag names it")
		}
	}
	return verdicts
}

// age is how long a manifest has been of no use: since it was pushed, or a tag ceased to name it. So a tag
// that has gone can be brought back for a while.
func (m manifest) age(at moment) time.Duration { return at.since(max(m.pushed, m.untagged)) }

// thing is what rules are about.
type thing struct {
	name           string
	pushed, pulled int64
}

// kept says of each thing by which rule it stays, "" if by none.
func (r Rules) kept(things []thing, at moment) []string {
	why := make([]string, len(things))
	within := func(name string, d *time.Duration, date func(thing) int64) {
		if d == nil {
			return
		}
		reason := fmt.Sprintf("%s %s", name, brief(*d))
		for i, t := range things {
			if newest := date(t); newest != 0 && at.since(newest) < *d {
				why[i] = reason
			}
		}
	}
	newest := func(name string, n int, order func(a, b thing) int) {
		reason := fmt.Sprintf("%s %d", name, n)
		for _, i := range first(things, n, order) {
			why[i] = reason
		}
	}
	within("pulledWithin", r.PulledWithin, func(t thing) int64 { return max(t.pulled, t.pushed) })
	within("pushedWithin", r.PushedWithin, func(t thing) int64 { return t.pushed })
	newest("mostRecentlyPulledCount", r.MostRecentlyPulled, func(a, b thing) int {
		return cmp.Or(cmp.Compare(b.pulled, a.pulled), cmp.Compare(b.pushed, a.pushed), cmp.Compare(a.name, b.name))
	})
	newest("mostRecentlyPushedCount", r.MostRecentlyPushed, func(a, b thing) int {
		return cmp.Or(cmp.Compare(b.pushed, a.pushed), cmp.Compare(b.pulled, a.pulled), cmp.Compare(a.name, b.name))
	})
	return why
}

// first returns which things are the first n in an order.
func first(things []thing, n int, order func(a, b thing) int) []int {
	if n == 0 {
		return nil
	}
	all := make([]int, len(things))
	for i := range all {
		all[i] = i
	}
	slices.SortFunc(all, func(a, b int) int { return order(things[a], things[b]) })
	return all[:min(n, len(all))]
}

// brief is a duration without zeros at its end.
func brief(d time.Duration) string {
	text := d.String()
	for _, zeros := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zeros) {
			text = text[:len(text)-2]
		}
	}
	return text
}
