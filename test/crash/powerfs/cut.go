package powerfs

import (
	"fmt"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// Loss counts what a power cut took: what programs had seen done and the disk does not have.
type Loss struct {
	Names   int // changes of names
	Sectors int // sectors of content
}

// Cut cuts the power: from this moment on every operation fails with EIO, and the backing directory gets
// what the disk holds. The mount stays until Unmount; what the kernel has in memory may still be read, by
// processes that are to be killed anyway.
//
// Cut waits for no process. The error is ErrOff if the power was cut before by a call, or an error of the
// backing directory, which then is of no use.
func (f *FS) Cut() (Loss, error) { return f.CutWith(disk.Arbitrary) }

// CutWith is Cut with a policy other than the seed: to lose all that was not synced, or nothing.
func (f *FS) CutWith(policy disk.Policy) (Loss, error) {
	f.freeze()
	return f.image(policy)
}

// CutAll cuts the power of several file systems at one moment, as when a whole rack fails: none sees an
// operation that came after another had stopped.
//
// It returns the losses in the order of the arguments, and the first error.
func CutAll(all ...*FS) ([]Loss, error) {
	for _, f := range all {
		f.mu.Lock()
	}
	for _, f := range all {
		f.off = true
		f.mu.Unlock()
	}
	losses := make([]Loss, len(all))
	var first error
	for i, f := range all {
		loss, err := f.image(disk.Arbitrary)
		losses[i] = loss
		if first == nil {
			first = err
		}
	}
	return losses, first
}

// FailAfter makes the power fail by itself before the n-th changing operation from now, which fails, and
// closes the channel then. It finds moments that a timer hardly hits, such as just before an fsync. The
// image is still made by Cut. A later call replaces an earlier one; the channel is the same.
func (f *FS) FailAfter(n uint64) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt = f.changes + n
	return f.failed
}

// Changes returns how many changing operations there were since the mount.
func (f *FS) Changes() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// freeze ends all operations, one that runs is finished first, and says whether they were ended before.
func (f *FS) freeze() (wasOff bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wasOff, f.off = f.off, true
	return wasOff
}

// image makes the backing directory what the disk holds, once.
func (f *FS) image(policy disk.Policy) (Loss, error) {
	err := ErrOff
	f.cutOnce.Do(func() {
		f.loss, f.imageErr = f.makeImage(policy)
		err = nil
	})
	if err == nil || f.imageErr != nil {
		err = f.imageErr
	}
	return f.loss, err
}

func (f *FS) makeImage(policy disk.Policy) (Loss, error) {
	fate := disk.NewFate(policy, f.seed)
	loss := Loss{Names: f.tree.Cut(fate)}
	paths, err := f.placed()
	if err == nil {
		loss.Sectors, err = cutContents(fate, paths)
	}
	if err == nil {
		err = f.arrange(paths)
	}
	if err == nil {
		err = f.broken
	}
	if err != nil {
		return loss, fmt.Errorf("image of %s: %w", f.backing, err)
	}
	return loss, nil
}

// cutContents leaves in each file that has a name what the disk holds of it.
func cutContents(fate *disk.Fate, paths []place) (lost int, err error) {
	done := map[*inode]bool{}
	for _, p := range paths {
		c := p.inode.content
		if c == nil || done[p.inode] {
			continue
		}
		done[p.inode] = true
		n, err := c.cut(fate)
		if err != nil {
			return lost, err
		}
		lost += n
		if err := c.close(); err != nil {
			return lost, err
		}
	}
	return lost, nil
}
