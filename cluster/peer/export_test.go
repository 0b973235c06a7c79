package peer

import "time"

// BePatient has handshakes, dials and calls of this node take as long as d. It is called before Run.
func (p *Peer) BePatient(d time.Duration) { p.bounds = bounds{d, d, d} }
