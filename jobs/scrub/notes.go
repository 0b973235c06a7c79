package scrub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// note is a small record in a file of this node. It is no part of the replicated state: only this node uses
// it, it must be had without a quorum, and with the disk all that it speaks of is gone too.
type note[T any] struct {
	file string
}

// fileOf is where the jobs of a store keep a record.
func fileOf(d Deps, name string) string {
	return filepath.Join(d.Dir, name+"-"+url.PathEscape(d.Store)+".json")
}

// load returns the record, the zero value if there is none. One that a crash has left half is none.
func (n note[T]) load() (v T, err error) {
	b, err := os.ReadFile(n.file)
	if errors.Is(err, os.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("read a note of scrub: %w", err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		var none T
		return none, nil //nolint:nilerr // what cannot be read is begun anew
	}
	return v, nil
}

// save puts v in the place of the record.
func (n note[T]) save(v T) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(n.file+".new", append(b, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(n.file+".new", n.file)
	}
	if err != nil {
		return fmt.Errorf("write a note of scrub: %w", err)
	}
	return nil
}
