package modelfsm_test

import (
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

// The test must be able to fail: with each of these faults between the steps and the commands it has to.
func TestBrokenCommandsAreSeen(t *testing.T) {
	for name, broken := range map[string]func(*run, fsm.Command) fsm.Command{
		"VouchCopies names the newest retirement": func(r *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.VouchCopies); ok {
				view(r.newest, func(v fsm.View) { c.Retirement = v.Retirement() })
				return c
			}
			return cmd
		},
		"DropCopies drops what nobody has vouched for": func(r *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.DropCopies); ok {
				r.vouchForAll(c.Digests[0])
			}
			return cmd
		},
		"DropNode drops a node that has copies": func(_ *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.DropNode); ok {
				c.Lost = true
				return c
			}
			return cmd
		},
		"BlobStored is stamped when it is proposed": func(r *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.BlobStored); ok {
				c.Stamp = r.now()
				return c
			}
			return cmd
		},
		"BlobStored leaves out a copy": func(_ *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.BlobStored); ok && len(c.Locations) > 1 {
				c.Locations = c.Locations[1:]
				return c
			}
			return cmd
		},
		"AddCopy replaces nothing": func(_ *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.AddCopy); ok {
				c.Instead = nil
				return c
			}
			return cmd
		},
		"CollectBlobs leaves the links": func(_ *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.CollectBlobs); ok && len(c.Digests) > 0 {
				c.Links = nil
				return c
			}
			return cmd
		},
		"PutManifest forgets a blob": func(_ *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.PutManifest); ok && len(c.Blobs) > 1 {
				c.Blobs = c.Blobs[1:]
				return c
			}
			return cmd
		},
		"CopyRemoved confirms nothing": func(_ *run, cmd fsm.Command) fsm.Command {
			if c, ok := cmd.(fsm.CopyRemoved); ok {
				c.Store = "another"
				return c
			}
			return cmd
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := figures{}
			if err := runs(t.TempDir(), worlds()[0], 1, 20_000, seen, broken); err == nil {
				t.Errorf("not seen in %d steps", seen[stepsTaken])
			} else if testing.Verbose() {
				t.Logf("seen after %d steps: %v", seen[stepsTaken], err)
			}
		})
	}
}

// vouchForAll vouches for every copy of a blob, whoever may have hashed it.
func (r *run) vouchForAll(d fsm.Digest) {
	var all []fsm.VouchCopies
	view(r.newest, func(v fsm.View) {
		b, _ := v.Blob(fsm.DefaultStore, d)
		for _, c := range b.Copies {
			if c.Counts {
				all = append(all, fsm.VouchCopies{
					Incarnation: c.Incarnation, Store: fsm.DefaultStore, Retirement: v.Retirement(),
					Copies: []fsm.BlobCopy{{Digest: d, Copy: c.Copy}},
				})
			}
		}
	})
	for _, cmd := range all {
		_ = r.propose(cmd)
	}
}
