package crashfs

import (
	"fmt"
	"os"
)

// file is an open file. It stays usable under whatever name it has later.
type file struct {
	fs   *FS
	name string // as given to Create, for errors
	real *os.File
}

// Write is one step. It returns ErrCrashed, or the error of the real file.
func (o *file) Write(p []byte) (int, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	now, crash := o.fs.begin()
	if crash == nil {
		return o.real.Write(p)
	}
	if now && o.fs.plan.Torn {
		if _, err := o.real.Write(p[:o.fs.rng.IntN(len(p)+1)]); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("write %s: %w", o.name, crash)
}

// Close returns ErrCrashed once the power is off, or the error of the real file.
func (o *file) Close() error {
	err := o.real.Close()
	if o.fs.Crashed() {
		return fmt.Errorf("close %s: %w", o.name, ErrCrashed)
	}
	return err
}
