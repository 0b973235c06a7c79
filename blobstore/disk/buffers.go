package disk

import "sync"

// buffers lends buffers of one length, so that a stream costs no garbage.
type buffers struct{ pool sync.Pool }

func newBuffers(size int) *buffers {
	return &buffers{sync.Pool{New: func() any { b := make([]byte, size); return &b }}}
}

// take borrows a buffer, for which put must be called.
func (b *buffers) take() *[]byte { return b.pool.Get().(*[]byte) }

func (b *buffers) put(p *[]byte) { b.pool.Put(p) }
