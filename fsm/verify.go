package fsm

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// maxFindings is how many findings Check spells out.
const maxFindings = 100

// Check compares everything in the state with everything else, and returns what does not fit, a line each:
// invariants 2, 3 and 5 as far as a state can show them by itself, that every index agrees with its
// records in both directions, that what repositories have was counted right, and that the sums of the state hash are those of the records. It reads the
// whole state: it is for tests and for `zot cluster verify`, never for a request.
func (v View) Check() []string {
	c := &checker{v: v, m: v.membership(), expected: map[bucket]int{}}
	c.nodes()
	c.requests()
	c.tokens()
	c.sums()
	if _, under := v.restoring(); under {
		return c.findings // the rest is on its way
	}
	c.repositories()
	c.links()
	c.blobs()
	c.doomed()
	c.manifests()
	c.used()
	c.tags()
	c.history()
	c.people()
	c.indexes()
	return c.findings
}

// checker gathers findings. It looks up what an index must have, and counts it; an index with as many
// entries as that has nothing else.
type checker struct {
	v        View
	m        membership
	expected map[bucket]int
	findings []string
}

func (c *checker) found(format string, args ...any) {
	if len(c.findings) < maxFindings {
		c.findings = append(c.findings, fmt.Sprintf(format, args...))
	}
}

// expect says that an index must have a key.
func (c *checker) expect(of string, k indexKey) {
	c.expected[k.bucket]++
	if have := c.v.get(k.bucket, []byte(k.key)); have == nil || string(have) != k.value {
		c.found("%s does not stand in index %s", of, k.bucket)
	}
}

func (c *checker) expectAll(of string, keys []indexKey) {
	for _, k := range keys {
		c.expect(of, k)
	}
}

// size is how many records of b have a prefix.
func (c *checker) size(b bucket, prefix []byte) (n uint64) {
	for range c.v.scan(b, prefix, nil) {
		n++
	}
	return n
}

func (c *checker) nodes() {
	want := membership{Retirements: c.m.Retirements}
	for key, value := range c.v.scan(nodes, nil, nil) {
		n := mustDecode[entry.Node](value)
		if !bytes.Equal(key, n.Incarnation[:]) {
			c.found("node %s lies under %x", n.Incarnation, key)
		}
		want.Members = with(want.Members, n.Incarnation, n.State == entry.Member)
		want.Retired = with(want.Retired, n.Incarnation, n.State == entry.Retired)
	}
	if !slices.Equal(want.Members, c.m.Members) || !slices.Equal(want.Retired, c.m.Retired) {
		c.found("the membership is %v, by the nodes it is %v", c.m, want)
	}
	for _, i := range c.m.Draining {
		if !c.m.counts(i) {
			c.found("node %s is to be emptied, and is no member", i)
		}
	}
}

func (c *checker) repositories() {
	for key, value := range c.v.scan(repositories, nil, nil) {
		r, name := mustDecode[repositoryRecord](value), string(key)
		counts := [...]uint64{r.Manifests, r.Links, r.Untagged}
		for i, b := range []bucket{manifests, links, untagged} {
			if n := c.size(b, within(name)); n != counts[i] {
				c.found("repository %s counts %d %s and has %d", name, counts[i], b, n)
			}
		}
		c.expectAll("repository "+name, r.indexes(name))
	}
}

func (c *checker) links() {
	for key, value := range c.v.scan(links, nil, nil) {
		l := mustDecode[linkRecord](value)
		name, raw := cutName(key)
		d := Digest(raw)
		of := fmt.Sprintf("link %s of %s", d, name)
		if _, exists := c.v.repository(name); !exists {
			c.found("%s: there is no such repository", of)
		}
		if _, known := c.v.blob(l.Store, d); !known {
			c.found("%s: the blob has no record", of)
		}
		if n := c.size(namedBy, namedByKey(name, asBlob, d, "")); n != l.Count {
			c.found("invariant 3: %s counts %d, %d manifests name it", of, l.Count, n)
		}
		if l.Since > c.v.Time() || l.Count > 0 && l.Since != 0 {
			c.found("%s: its lease began at %d", of, l.Since)
		}
		c.expectAll(of, l.indexes(name, d))
	}
}

func (c *checker) blobs() {
	want := map[string]Held{}
	for key, value := range c.v.scan(blobs, nil, nil) {
		b := mustDecode[blobRecord](value)
		store, d := splitStoreKey(key)
		of := fmt.Sprintf("blob %s in store %s", d, store)
		if n := c.size(linked, within(store, string(d))); n != b.Links {
			c.found("%s counts %d links and has %d", of, b.Links, n)
		}
		if len(b.Copies) == 0 && !b.Damaged {
			c.found("invariant 2: %s has no location and is not damaged", of)
		}
		for i, l := range b.Copies {
			c.location(of, store, l)
			place := string(onNode(l.Incarnation, store, ""))
			want[place] = Held{want[place].Copies + 1, want[place].Bytes + b.Size}
			if b.at(l.Incarnation) != i {
				c.found("%s has two locations on %s", of, l.Incarnation)
			}
		}
		c.expectAll(of, b.indexes(store, d))
	}
	for place, h := range want {
		if have, _ := load[Held](c.v.reader, held, []byte(place)); have != h {
			c.found("node %x counts %d copies with %d bytes and has %d with %d", place[:len(entry.Incarnation{})], have.Copies, have.Bytes, h.Copies, h.Bytes)
		}
	}
	c.expected[held] = len(want)
}

func (c *checker) location(of, store string, l copyRecord) {
	if c.v.has(doomed, onNode(l.Incarnation, store, string(l.Copy[:]))) {
		c.found("invariant 4: %s: copy %s on %s is recorded and doomed", of, l.Copy, l.Incarnation)
	}
	if l.Vouched > c.m.Retirements {
		c.found("%s: copy %s is vouched for after retirement %d, there were %d", of, l.Copy, l.Vouched, c.m.Retirements)
	}
	if n, _ := c.v.node(l.Incarnation); n.State == entry.Joining || n.State == entry.Replica {
		c.found("%s has a location on %s, which is %s", of, l.Incarnation, n.State)
	}
}

func (c *checker) doomed() {
	for key := range c.v.scan(doomed, nil, nil) {
		i := entry.Incarnation(key)
		if _, id := cutName(key[len(i):]); len(id) != len(CopyID{}) {
			c.found("doomed entry %x has no copy id", key)
		}
		if n, _ := c.v.node(i); n.State == entry.Joining || n.State == entry.Replica {
			c.found("a copy is doomed on %s, which is %s", i, n.State)
		}
	}
}

func (c *checker) manifests() {
	for key, value := range c.v.scan(manifests, nil, nil) {
		m := mustDecode[manifestRecord](value)
		name, raw := cutName(key)
		d := Digest(raw)
		of := fmt.Sprintf("manifest %s of %s", d, name)
		if _, exists := c.v.repository(name); !exists {
			c.found("%s: there is no such repository", of)
		}
		c.body(of, key, m, d)
		c.references(of, name, d)
		if c.v.isLoose(name, d) {
			c.expect(of, indexKey{bucket: loose, key: string(key)})
		}
		if m.Subject != "" {
			c.expected[referrers]++
			if !c.v.has(referrers, referrerKey(name, m.Subject, m.ArtifactType, d)) {
				c.found("%s does not stand among the referrers of its subject", of)
			}
		}
	}
	for key := range c.v.scan(pulls, nil, nil) {
		if !c.v.has(manifests, key) {
			c.found("there are pulls of %q, which is no manifest", key)
		}
	}
}

func (c *checker) body(of string, key []byte, m manifestRecord, d Digest) {
	if !m.Inline {
		return
	}
	c.expected[bodies]++
	body := c.v.get(bodies, key)
	if int64(len(body)) != m.Size {
		c.found("%s has %d bytes and a body of %d", of, m.Size, len(body))
	}
	if u := d.Unpack(); u != "" && u.Algorithm().FromBytes(body) != u {
		c.found("invariant 11: %s has another body", of)
	}
}

// references checks invariant 2 for one manifest: all it names is there.
func (c *checker) references(of, name string, d Digest) {
	c.expected[references]++
	if !c.v.has(references, within(name, string(d))) {
		c.found("%s has no references", of)
	}
	refs := c.v.references(name, d)
	for _, b := range refs.Blobs {
		c.expect(of, indexKey{bucket: namedBy, key: string(namedByKey(name, asBlob, b, d))})
		if l, _ := c.v.link(name, b); l.Count == 0 {
			c.found("invariant 2: %s names %s, which has no link", of, b)
		}
	}
	for _, child := range refs.Manifests {
		c.expect(of, indexKey{bucket: namedBy, key: string(namedByKey(name, asManifest, child, d))})
		if _, there := c.v.manifest(name, child); !there {
			c.found("invariant 2: %s lists %s, which is not there", of, child)
		}
	}
}

func (c *checker) tags() {
	for key, value := range c.v.scan(tags, nil, nil) {
		t := mustDecode[tagRecord](value)
		name, tag := cutName(key)
		of := fmt.Sprintf("tag %s of %s", tag, name)
		if _, there := c.v.manifest(name, t.Digest); !there {
			c.found("%s names %s, which is not there", of, t.Digest)
		}
		c.expect(of, indexKey{bucket: tagged, key: string(within(name, string(t.Digest), string(tag)))})
	}
}

func (c *checker) history() {
	for key, value := range c.v.scan(history, nil, nil) {
		h := mustDecode[historyRecord](value)
		name, tag := cutName(key)
		of := fmt.Sprintf("history of tag %s of %s", tag, name)
		if c.v.has(tags, key) != (h.Deleted == 0) {
			c.found("%s says that it was deleted at %d", of, h.Deleted)
		}
		if n := len(h.Entries); n == 0 || n > maxHistory {
			c.found("%s has %d entries", of, n)
		}
		if h.Deleted != 0 {
			c.expect(of, indexKey{bucket: untagged, key: string(within(name, number(h.Deleted), string(tag)))})
		}
	}
}

// requests checks that each kept result goes some day.
func (c *checker) requests() {
	for key := range c.v.scan(expiries, nil, nil) {
		c.expected[requests]++
		if !c.v.has(requests, key[8:]) {
			c.found("kept result %x is gone before its time", key[8:])
		}
	}
}

// indexes finds what stands in an index without a record.
func (c *checker) indexes() {
	for _, b := range []bucket{
		catalog, vacant, moving, bodies, references, namedBy, loose, referrers, tagged, untagged,
		idle, linked, unlinked, damaged, copies, recorded, on, sole, held, requests, below, quotas,
		sessionsOf, sessionsUntil, apiKeysOf, apiKeysUntil, starred,
	} {
		if n := c.size(b, nil); n != uint64(c.expected[b]) { //nolint:gosec // a count
			c.found("index %s has %d entries, its records make %d", b, n, c.expected[b])
		}
	}
}

// sums recounts the sums of which the state hash is made (invariant 7).
func (c *checker) sums() {
	for _, b := range replicated() {
		var s sum
		for key, value := range c.v.scan(b, nil, nil) {
			s.add(sumOf(b, key, value))
		}
		if have := c.v.runningSum(b); have != s {
			c.found("invariant 7: the sum of %s is not that of its records", b)
		}
	}
}
