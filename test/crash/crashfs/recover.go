package crashfs

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// Recover cuts the power if it is still on, and rewrites the directory to what the disk holds: what was
// synced, and of all else what policy and seed leave. The double is of no use afterwards; New on the same
// directory is the machine after its restart.
//
// Files that others still have open are replaced, not changed, so a mapped database is not pulled away.
// The error is one of reading or writing the directory.
func (f *FS) Recover(policy disk.Policy, seed int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	seen := map[*node]string{}
	err := f.noticeAll(f.tree.Root(), ".", func(n *node, at string) { seen[n] = at })
	if err != nil {
		return fmt.Errorf("recover %s: %w", f.dir, err)
	}
	files, err := f.image(disk.NewFate(policy, seed), seen)
	if err != nil {
		return fmt.Errorf("recover %s: %w", f.dir, err)
	}
	if err := f.rewrite(files); err != nil {
		return fmt.Errorf("recover %s: %w", f.dir, err)
	}
	return nil
}

// entry is a path on the disk, and what is there.
type entry struct {
	at      string
	isDir   bool
	content []byte
}

// image lists what the disk holds, parents before their children. It reads the real files before rewrite
// takes them away.
func (f *FS) image(fate *disk.Fate, seen map[*node]string) ([]entry, error) {
	f.tree.Cut(fate)
	var entries []entry
	err := f.tree.Walk(func(at string, n *node) error {
		if n.IsDir() {
			entries = append(entries, entry{at: at, isDir: true})
			return nil
		}
		now := n.Value.last
		if now == nil {
			now = n.Value.synced // others removed it, and nobody has seen what they wrote to it before
		}
		if where, ok := seen[n]; ok {
			content, err := os.ReadFile(f.path(where))
			if err != nil {
				return err
			}
			now = content
		}
		entries = append(entries, entry{at: at, content: fate.Content(n.Value.synced, now)})
		return nil
	})
	return entries, err
}

func (f *FS) rewrite(entries []entry) error {
	old, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(f.dir, e.Name())); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if e.isDir {
			err = os.Mkdir(f.path(e.at), 0o700)
		} else {
			err = os.WriteFile(f.path(e.at), e.content, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
