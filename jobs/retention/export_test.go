package retention

// AtMost sets how much a run looks at and removes.
func (d *Deps) AtMost(looks, removals int) { d.looks, d.removals = looks, removals }
