//go:build !linux

package disk

import "os"

// Adopt fails: only Linux gives a name to what is open.
func (f systemFiles) Adopt(file *os.File, name string) error {
	return &os.LinkError{Op: "link", Old: file.Name(), New: name, Err: os.ErrInvalid}
}
