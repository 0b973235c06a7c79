package repair

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// plan is where to get the bytes of a blob, and who may get the next copy, best first.
type plan struct {
	blob    blobstore.Blob
	instead *fsm.Location           // of which the new copy takes the place, if the record is full then; nil: of none
	targets []blobstore.Incarnation // none: there is nothing to do, or nobody to do it
}

// planner says what is to be done now about a blob, if anything is.
type planner func(v fsm.View, nodes roster, d fsm.Digest) plan

// roster is who holds copies, and how many a blob should have.
type roster struct {
	now      blobstore.Time // of the state
	members  []member
	replicas int // the store's
	want     int // of them, as far as there are members to hold them
}

// member is a node whose copies count.
type member struct {
	incarnation blobstore.Incarnation
	zone        string // one of its own if it has said none
	away        bool
	draining    bool  // it is to be emptied
	held        int64 // bytes of copies of the store that are recorded on it
}

// takes reports whether copies are placed on a member.
func (m member) takes() bool { return !m.away && !m.draining }

// members are the nodes whose copies count, as they are to a store.
func members(v fsm.View, store string) (all []member) {
	draining := v.Draining()
	for _, n := range v.Nodes() {
		if n.State.String() != stateMember {
			continue
		}
		m := member{incarnation: blobstore.Incarnation(n.Incarnation), zone: n.Zone, draining: slices.Contains(draining, n.Incarnation), held: v.HeldIn(n.Incarnation, store).Bytes}
		if m.zone == "" {
			m.zone = "node " + m.incarnation.String()
		}
		all = append(all, m)
	}
	return all
}

func (r *repairer) roster(v fsm.View) (all roster) {
	all.members, all.now = members(v, r.Store), blobstore.Time(v.Time())
	r.Watch.judge(all.members, all.now)
	s, _ := v.Store(r.Store)
	all.replicas = s.Numbers.Replicas
	for _, m := range all.members {
		if !m.away {
			all.want++
		}
	}
	all.want = min(all.want, all.replicas)
	return all
}

// takers is how many members copies are placed on.
func (r roster) takers() (n int) {
	for _, m := range r.members {
		if m.takes() {
			n++
		}
	}
	return n
}

// of returns a member.
func (r roster) of(i blobstore.Incarnation) (member, bool) {
	at := slices.IndexFunc(r.members, func(m member) bool { return m.incarnation == i })
	if at < 0 {
		return member{}, false
	}
	return r.members[at], true
}

// key is another when something has changed by which copies are placed.
func (r roster) key() string {
	var b strings.Builder
	fmt.Fprint(&b, r.replicas)
	for _, m := range r.members {
		fmt.Fprintf(&b, " %s %q %t %t", m.incarnation, m.zone, m.away, m.draining)
	}
	return b.String()
}

// there is how many copies of a blob count and are not on members that are away.
func (r roster) there(b fsm.Blob) (n int) {
	for _, c := range b.Copies {
		if m, _ := r.of(blobstore.Incarnation(c.Incarnation)); c.Counts && !m.away {
			n++
		}
	}
	return n
}

// The words for the states of a node that matter here: the numbers behind them are between the log and the
// state.
const (
	stateMember  = "member"
	stateRetired = "retired"
)

// missing plans for blobs of which so many copies are there, which is too few. A blob that has another number
// of them by now is another pass's, or was collected.
func (r *repairer) missing(there int) planner {
	return func(v fsm.View, nodes roster, d fsm.Digest) plan {
		b, known := v.Blob(r.Store, d)
		if !known || there >= nodes.want || nodes.there(b) != there {
			return plan{}
		}
		var instead *fsm.Location
		for _, c := range b.Copies {
			if m, _ := nodes.of(blobstore.Incarnation(c.Incarnation)); m.away {
				instead = &c.Location
				break
			}
		}
		return r.plan(nodes, b, instead)
	}
}

// plan says how a blob gets one more copy, or one in the place of another. A member that has a location of
// it, good or bad, is no target: a second copy on one node would be doomed (GC R2).
func (r *repairer) plan(nodes roster, b fsm.Blob, instead *fsm.Location) plan {
	p := plan{blob: blobstore.Blob{Digest: b.Digest.Unpack(), Size: b.Size}, instead: instead}
	holders := map[blobstore.Incarnation]bool{} // false: of the copy that goes
	for _, c := range b.Copies {
		i := blobstore.Incarnation(c.Incarnation)
		holders[i] = instead == nil || *instead != c.Location
		if m, _ := nodes.of(i); c.Held && !m.away { // also one on a node that is leaving can be read
			p.blob.Locations = append(p.blob.Locations, blobstore.Location{Incarnation: i, Copy: blobstore.CopyID(c.Copy)})
		}
	}
	if len(p.blob.Locations) > 0 {
		p.targets = r.targets(nodes, holders, b.Digest)
	}
	return p
}

// targets returns the members that can take a copy: those with room first, in zones with fewer copies first,
// then by a hash of both, so that the copies of one node are spread over all others and each blob has its
// own order.
func (r *repairer) targets(nodes roster, holders map[blobstore.Incarnation]bool, d fsm.Digest) (all []blobstore.Incarnation) {
	inZone, ranks := map[string]int{}, map[blobstore.Incarnation]rank{}
	for _, m := range nodes.members {
		if holders[m.incarnation] && !m.away {
			inZone[m.zone]++
		}
	}
	for _, m := range nodes.members {
		if _, has := holders[m.incarnation]; has || !r.open(m) {
			continue
		}
		_, room := r.Copies.UsageOf(m.incarnation)
		all = append(all, m.incarnation)
		ranks[m.incarnation] = rank{!room, inZone[m.zone], hashOf(d, m.incarnation)}
	}
	slices.SortFunc(all, func(a, b blobstore.Incarnation) int { return ranks[a].compare(ranks[b]) })
	return all
}

// open reports whether a member can be asked to take a copy now.
func (r *repairer) open(m member) bool {
	return m.takes() && !r.nodes.is(m.incarnation) && r.Copies.Reachable(m.incarnation)
}

// hashOf is a hash of a blob and a node: an order of the nodes that is another for each blob.
func hashOf(d fsm.Digest, i blobstore.Incarnation) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(d), i[:]...))
}

// rank is how good it is to have a copy on a node; the lowest is the best.
type rank struct {
	full   bool
	inZone int
	hash   [sha256.Size]byte
}

func (a rank) compare(b rank) int {
	full := func(r rank) int {
		if r.full {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(full(a), full(b)), cmp.Compare(a.inZone, b.inZone), bytes.Compare(a.hash[:], b.hash[:]))
}
