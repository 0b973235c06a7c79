package fsm

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
