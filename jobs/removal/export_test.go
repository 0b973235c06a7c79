package removal

// LookAtMost sets how many blobs in a row a run looks at in vain.
func (d *Deps) LookAtMost(n int) { d.idle = n }
