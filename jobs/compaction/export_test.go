package compaction

import "time"

// Soon is Deps whose job has the first turn come after d.
func (d Deps) Soon(after time.Duration) Deps {
	d.after = after
	return d
}
