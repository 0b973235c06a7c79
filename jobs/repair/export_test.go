package repair

import "time"

// Hurry sets after how long the job looks for something more urgent, and how many blobs it looks at in vain.
func (d *Deps) Hurry(slice time.Duration, idle int) { d.slice, d.idle = slice, idle }
