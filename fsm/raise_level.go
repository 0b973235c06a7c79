package fsm

import (
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// levelPatience is how long, in state time, all nodes must have known a level before it is raised by
// itself: until then somebody may still go back to the old version.
const levelPatience = 24 * time.Hour

// RaiseLevel raises the cluster's feature level; it never falls. It changes nothing if the cluster has
// that level. A node that does not know the level stops when it applies this, with a line that says
// so; the conditions see to it that none is left.
//
// Refused with:
//   - ErrLevelTooLow if a member, a joining node or a replica states a lower one, or none stated any
//   - ErrLevelTooEarly if they have not all stated it for 24 hours of state time, unless Now
//
// DESIGN 3, "Feature level".
type RaiseLevel struct {
	Level uint32 `cbor:"1,keyasint"`
	Now   bool   `cbor:"2,keyasint,omitempty"` // somebody asked for it: `zot cluster finalize`
}

func (RaiseLevel) wire() kind { return kind{"raise-level", 1} }

func (c RaiseLevel) check() error {
	if c.Level <= baseLevel {
		return fmt.Errorf("level %d is what every cluster has", c.Level)
	}
	return nil
}

func (c RaiseLevel) apply(t *tx) (None, error) {
	if c.Level <= t.level() {
		return None{}, nil
	}
	lowest, node := t.lowestLevel()
	if lowest < c.Level {
		return None{}, ErrLevelTooLow.with("node %s knows level %d", node, lowest)
	}
	since, _ := t.statedSince(c.Level)
	if due := since.Add(levelPatience); t.now < due && !c.Now {
		return None{}, ErrLevelTooEarly.with("due in %s", due.Sub(t.now))
	}
	if c.Level > t.highest {
		return None{}, fmt.Errorf("%w: %d, this one knows %d", ErrLevelUnknown, c.Level, t.highest)
	}
	t.save(meta, keyLevel, c.Level)
	t.noteLevels()
	return None{}, nil
}

// stated says since when all nodes that count have stated a level, or a higher one.
type stated struct {
	Level uint32     `cbor:"1,keyasint"`
	Since entry.Time `cbor:"2,keyasint"`
}

// lowestLevel is the level that every node that takes part knows, and the name of one that knows no
// higher one; 0 if there is no node.
func (r reader) lowestLevel() (lowest uint32, node string) {
	for _, value := range r.scan(nodes, nil, nil) {
		n := mustDecode[entry.Node](value)
		takesPart := n.State == entry.Member || n.State == entry.Joining || n.State == entry.Replica
		if takesPart && (node == "" || n.Level < lowest) {
			lowest, node = n.Level, n.Name
		}
	}
	return lowest, node
}

// noteLevels keeps the record of since when which level is stated by all. Whatever changes a node or
// the level calls it: a node that went back to an old version for an hour starts the 24 hours anew.
func (t *tx) noteLevels() {
	lowest, _ := t.lowestLevel()
	old, _ := load[[]stated](t.reader, meta, keyStated)
	var next []stated // ascending in both
	for _, s := range old {
		if t.level() < s.Level && s.Level <= lowest {
			next = append(next, s)
		}
	}
	if n := len(next); lowest > t.level() && (n == 0 || next[n-1].Level < lowest) {
		next = append(next, stated{Level: lowest, Since: t.now})
	}
	if len(next) == 0 {
		t.del(meta, keyStated)
		return
	}
	t.save(meta, keyStated, next)
}

// statedSince says since when all have stated a level, and whether they do.
func (r reader) statedSince(level uint32) (entry.Time, bool) {
	all, _ := load[[]stated](r, meta, keyStated)
	for _, s := range all {
		if s.Level >= level {
			return s.Since, true
		}
	}
	return 0, false
}

// RaisableLevel is the highest feature level that RaiseLevel would be applied for now without Now; the
// cluster's own if there is no higher one. Whoever leads asks from time to time.
func (v View) RaisableLevel() uint32 {
	level, now := v.level(), v.Time()
	all, _ := load[[]stated](v.reader, meta, keyStated)
	for _, s := range all {
		if now >= s.Since.Add(levelPatience) {
			level = s.Level
		}
	}
	return level
}

// Level is the cluster's feature level.
func (v View) Level() uint32 { return v.level() }
