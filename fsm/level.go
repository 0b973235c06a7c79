package fsm

import (
	"errors"
	"fmt"
)

// HighestLevel is the highest feature level that this binary knows.
const HighestLevel = 1

// ErrLevelUnknown is returned for a state of a feature level that only newer binaries know.
var ErrLevelUnknown = errors.New("feature level is not known to this binary")

// baseLevel is the feature level of an empty state, and so of a cluster until it is raised: what
// every binary that was ever released knows.
const baseLevel = 1

// level is the feature level of the state that a reader sees.
func (r reader) level() uint32 {
	if level, set := load[uint32](r, meta, keyLevel); set {
		return level
	}
	return baseLevel
}

// knownLevel fails for a level above HighestLevel: records may then mean what this binary cannot know.
func knownLevel(level uint32) error {
	if level > HighestLevel {
		return fmt.Errorf("%w: the state has %d, the binary knows %d", ErrLevelUnknown, level, HighestLevel)
	}
	return nil
}
