package repair

import "time"

// Hurry sets after how long the job looks for something more urgent, and how many blobs it looks at in vain.
func (d *Deps) Hurry(slice time.Duration, idle int) { d.slice, d.idle = slice, idle }

// Remember sets how many blobs that failed the job remembers.
func (d *Deps) Remember(blobs int) { d.aside = blobs }
