package s3

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// scratch is a directory with the parts that are not sent yet.
type scratch struct {
	root  *os.Root
	files disk.Files
}

// openScratch opens the directory, and removes the parts that former processes have left.
func openScratch(c Config) (*scratch, error) {
	if err := os.MkdirAll(c.Scratch, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(c.Scratch)
	if err != nil {
		return nil, err
	}
	s := &scratch{root, c.Files(root)}
	names, err := s.files.List(".")
	for _, name := range names {
		if isPart(name) {
			err = errors.Join(err, s.files.Remove(name))
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return s, nil
}

// partName is the file of a part.
func partName(d *draft, p *part) string { return fmt.Sprintf("%s.%d", d.name, p.number) }

func isPart(name string) bool {
	id, number, _ := strings.Cut(name, ".")
	_, err := blobstore.ParseCopyID(id)
	_, notANumber := strconv.Atoi(number)
	return err == nil && notANumber == nil
}

// remove removes the file of a part, if it is there.
func (s *scratch) remove(d *draft, p *part) error {
	err := s.files.Remove(partName(d, p))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return scratchFault("remove part", err)
}

func (s *scratch) usage() (blobstore.Usage, error) {
	total, free, err := s.files.Usage()
	return blobstore.Usage{Total: total, Free: free}, scratchFault("ask for room", err)
}

// room fails with blobstore.ErrNoSpace if the disk is so full that what is left belongs to the node's log and state.
func (s *scratch) room() error {
	u, err := s.usage()
	if err != nil {
		return err
	}
	if u.Full() {
		return fmt.Errorf("%w: the disk that uploads pass through is used to %d %%, and they are taken below %d %%: make room there; pulls and deletes go on",
			blobstore.ErrNoSpace, u.Percent(), blobstore.FullFrom)
	}
	return nil
}

// Close gives the directory back.
func (s *scratch) Close() error { return s.root.Close() }

// scratchFault says what an error of the file system means.
func scratchFault(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%s: %w", doing, blobstore.ErrClosed)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: %w: %w", doing, blobstore.ErrNoSpace, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
