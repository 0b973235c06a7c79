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

// errNoRecord is a file that does not read as what was written.
var errNoRecord = errors.New("not a record of scrub")

// load returns the record, the zero value if there is none. It fails with errNoRecord for a file that is none.
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
		return none, fmt.Errorf("%s: %w: %w", n.file, errNoRecord, err)
	}
	return v, nil
}

// save puts v in the place of the record, durably: that too much was given up must not be forgotten.
func (n note[T]) save(v T) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = writeSynced(n.file+".new", append(b, '\n'))
	}
	if err == nil {
		err = os.Rename(n.file+".new", n.file)
	}
	if err != nil {
		return fmt.Errorf("write a note of scrub: %w", err)
	}
	return nil
}

func writeSynced(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // a path of the node's own directory
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
