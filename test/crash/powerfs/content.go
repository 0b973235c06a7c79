package powerfs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

const (
	pageSize       = 4096
	sectorsPerPage = pageSize / disk.SectorSize

	// pagesHeld bounds the memory of one file. Beyond it the file is written out, as a kernel does with dirty
	// pages that nobody syncs.
	pagesHeld = 1 << 16
)

// content is what a regular file holds: a file of the backing directory, which is what the disk has, and in
// memory above it what was written since the last fsync.
type content struct {
	path string
	base *os.File // nil until it is needed

	synced int64 // size of the base
	size   int64 // size that programs see
	// visible is where the base ends for programs: an un-synced truncation may have cut it.
	visible int64
	pages   map[int64]*page
}

// page is a whole page as programs see it, and which of its sectors the disk may not have.
type page struct {
	data  [pageSize]byte
	dirty uint8
}

func newContent(path string, size int64) *content {
	return &content{path: path, synced: size, size: size, visible: size, pages: map[int64]*page{}}
}

// open opens the base, which stays open until close.
func (c *content) open() error {
	if c.base != nil {
		return nil
	}
	base, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	c.base = base
	return nil
}

func (c *content) close() error {
	if c.base == nil {
		return nil
	}
	base := c.base
	c.base = nil
	return base.Close()
}

// clean says whether the disk has what programs see.
func (c *content) clean() bool {
	return len(c.pages) == 0 && c.size == c.synced && c.visible >= c.synced
}

// readAt fills buf with what programs see at the offset, and returns how much there was.
func (c *content) readAt(buf []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, nil
	}
	buf = buf[:min(int64(len(buf)), c.size-off)]
	if err := c.readBase(buf, off, c.visible); err != nil {
		return 0, err
	}
	for at := off; at < off+int64(len(buf)); {
		number, in := at/pageSize, at%pageSize
		n := min(pageSize-in, off+int64(len(buf))-at)
		if p := c.pages[number]; p != nil {
			copy(buf[at-off:at-off+n], p.data[in:])
		}
		at += n
	}
	return len(buf), nil
}

// readBase fills buf with what the base has up to the end, and with zeros behind.
func (c *content) readBase(buf []byte, off, end int64) error {
	n := int(max(0, min(int64(len(buf)), min(end, c.synced)-off)))
	clear(buf[n:])
	if n == 0 {
		return nil
	}
	if err := c.open(); err != nil {
		return err
	}
	if _, err := c.base.ReadAt(buf[:n], off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// writeAt changes what programs see.
func (c *content) writeAt(data []byte, off int64) error {
	for len(data) > 0 {
		number, in := off/pageSize, off%pageSize
		n := min(pageSize-in, int64(len(data)))
		p, err := c.page(number, n == pageSize)
		if err != nil {
			return err
		}
		copy(p.data[in:], data[:n])
		for s := in / disk.SectorSize; s <= (in+n-1)/disk.SectorSize; s++ {
			p.dirty |= 1 << s
		}
		data, off = data[n:], off+n
		c.size = max(c.size, off)
	}
	if len(c.pages) > pagesHeld {
		return c.sync()
	}
	return nil
}

// page returns a page for writing, filled from the base unless it is about to be overwritten whole.
func (c *content) page(number int64, whole bool) (*page, error) {
	if p := c.pages[number]; p != nil {
		return p, nil
	}
	p := &page{}
	if !whole {
		if err := c.readBase(p.data[:], number*pageSize, c.visible); err != nil {
			return nil, err
		}
	}
	c.pages[number] = p
	return p, nil
}

// truncate sets the size that programs see. What a later growth uncovers reads as zeros.
func (c *content) truncate(size int64) {
	if size < c.size {
		c.visible = min(c.visible, size)
		for number, p := range c.pages {
			switch start := number * pageSize; {
			case start >= size:
				delete(c.pages, number)
			case start+pageSize > size:
				clear(p.data[size-start:])
			}
		}
	}
	c.size = size
}

// sync makes the disk have what programs see.
func (c *content) sync() error {
	if c.clean() {
		return nil
	}
	if err := c.open(); err != nil {
		return err
	}
	if c.visible < c.synced {
		if err := c.base.Truncate(c.visible); err != nil {
			return err
		}
	}
	for _, number := range slices.Sorted(maps.Keys(c.pages)) {
		start := number * pageSize
		end := min(pageSize, c.size-start)
		if _, err := c.base.WriteAt(c.pages[number].data[:end], start); err != nil {
			return err
		}
	}
	if err := c.base.Truncate(c.size); err != nil {
		return err
	}
	c.synced, c.visible = c.size, c.size
	clear(c.pages)
	return nil
}

// cut leaves in the base what the disk holds after a power cut, and returns how many sectors it does not
// have as programs saw them.
func (c *content) cut(f *disk.Fate) (lost int, err error) {
	if c.clean() {
		return 0, nil
	}
	if err := c.open(); err != nil {
		return 0, err
	}
	truncated := f.File()
	if truncated && c.visible < c.synced {
		if err := c.base.Truncate(c.visible); err != nil {
			return 0, err
		}
		c.synced = c.visible
	}
	size := f.Size(c.synced, c.size)
	for _, number := range slices.Sorted(maps.Keys(c.pages)) {
		n, err := c.cutPage(f, number, size)
		if err != nil {
			return lost, fmt.Errorf("page %d: %w", number, err)
		}
		lost += n
	}
	return lost, c.base.Truncate(size)
}

func (c *content) cutPage(f *disk.Fate, number, size int64) (lost int, err error) {
	p := c.pages[number]
	for s := range int64(sectorsPerPage) {
		off := number*pageSize + s*disk.SectorSize
		if p.dirty&(1<<s) == 0 {
			continue
		}
		if off >= size {
			lost++
			continue
		}
		var was, is [disk.SectorSize]byte
		if err := c.readBase(was[:], off, c.synced); err != nil {
			return lost, err
		}
		seen := p.data[s*disk.SectorSize:][:disk.SectorSize]
		f.Sector(is[:], was[:], seen)
		if string(is[:]) != string(seen) {
			lost++
		}
		if is == was {
			continue
		}
		if _, err := c.base.WriteAt(is[:], off); err != nil {
			return lost, err
		}
	}
	return lost, nil
}
