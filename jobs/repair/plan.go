package repair

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// plan is where to get the bytes of a blob, and who may get the next copy, best first.
type plan struct {
	blob    blobstore.Blob
	targets []blobstore.Incarnation // none: there is nothing to do, or nobody to do it
}

// roster is who holds copies, and how many a blob should have.
type roster struct {
	members []member
	want    int // the store's replicas, as far as there are members to hold them
}

// member is a node whose copies count.
type member struct {
	incarnation blobstore.Incarnation
	zone        string
}

func (r *repairer) roster(v fsm.View) (all roster) {
	for _, n := range v.Nodes() {
		if n.State.String() == stateMember {
			all.members = append(all.members, member{blobstore.Incarnation(n.Incarnation), n.Zone})
		}
	}
	s, _ := v.Store(r.Store)
	all.want = min(s.Numbers.Replicas, len(all.members))
	return all
}

// The words for the states of a node that matter here: the numbers behind them are between the log and the
// state.
const (
	stateMember  = "member"
	stateRetired = "retired"
)

// plan says how a blob with so many counting copies gets one more. A blob that has another number of them
// by now is another pass's, or was collected. A member that has a location of it, good or bad, is no
// target: a second copy on one node would be doomed (GC R2).
func (r *repairer) plan(v fsm.View, nodes roster, d fsm.Digest, counting int) plan {
	b, known := v.Blob(r.Store, d)
	if !known || b.Counting != counting || counting >= nodes.want {
		return plan{}
	}
	p := plan{blob: blobstore.Blob{Digest: d.Unpack(), Size: b.Size}}
	has := map[blobstore.Incarnation]bool{}
	for _, c := range b.Copies {
		has[blobstore.Incarnation(c.Incarnation)] = true
		if c.Held { // also one on a node that is leaving can be read
			p.blob.Locations = append(p.blob.Locations, blobstore.Location{
				Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy),
			})
		}
	}
	if len(p.blob.Locations) == 0 {
		return plan{}
	}
	p.targets = r.targets(nodes.members, has, d)
	return p
}

// targets returns the members that can take a copy: those in zones with fewer copies first, then by a
// hash of both, so that the copies of one node are spread over all others and each blob has its own order.
func (r *repairer) targets(members []member, has map[blobstore.Incarnation]bool, d fsm.Digest) (all []blobstore.Incarnation) {
	inZone, ranks := map[string]int{}, map[blobstore.Incarnation]rank{}
	for _, m := range members {
		if has[m.incarnation] {
			inZone[m.zone]++
		}
	}
	for _, m := range members {
		if !has[m.incarnation] && !r.nodes.is(m.incarnation) && r.Copies.Reachable(m.incarnation) {
			all = append(all, m.incarnation)
			ranks[m.incarnation] = rank{inZone[m.zone], sha256.Sum256(append([]byte(d), m.incarnation[:]...))}
		}
	}
	slices.SortFunc(all, func(a, b blobstore.Incarnation) int { return ranks[a].compare(ranks[b]) })
	return all
}

// rank is how good a target is; the lowest is the best.
type rank struct {
	inZone int
	hash   [sha256.Size]byte
}

func (a rank) compare(b rank) int {
	return cmp.Or(cmp.Compare(a.inZone, b.inZone), bytes.Compare(a.hash[:], b.hash[:]))
}
