// Package disk keeps copies and uploads in a directory.
//
//	marker                   whose store this is; written last when it is made, so that it is never half
//	copies/<xx>/<copy id>    the bytes of a copy, nothing else; xx are the first two digits of the id
//	copies/<xx>/<copy id>.sums  CRC32C of each chunk, if there is more than one
//	copies/<xx>/<copy id>.unsummed  the copy is a file that was linked, and nobody has hashed it yet
//	uploads/<upload id>      the bytes of an upload
//	uploads/<upload id>.state   how far it is, what its chunks sum up to, or that only its id is kept
//	uploads/<upload id>.sums the sums of the copy that Publish will make
//
// A name below copies stands for a whole copy: the bytes were verified and fsynced under the upload's name
// before Publish links them, so that a crash leaves nothing half. All I/O goes through a handle on the
// directory in which the marker was seen: a mount that is lost is an error then, and never an empty store
// (GC R10, R13).
//
// The package may not know what the copies mean to anyone: it removes what it is told to, and acts on no
// file's time. No lock is held over I/O; the one mutex guards the table of uploads in memory. Opening reads
// the marker alone, however much is in the store.
//
// Start reading at Store, then append.go, finish.go and publish.go (the way in; link.go is another), open.go and source.go (the
// way out).
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/seed-16d79997/zot/blobstore"
)

// Config says which directory is whose store.
type Config struct {
	Dir         string
	Incarnation blobstore.Incarnation
	Name        string // of the store, where a node has several
	// Files returns what the store does its I/O through; nil stands for SystemFiles.
	Files func(*os.Root) Files
	// Suspect is told of a copy that is gone, or not what was published, whoever came upon it; nil tells nobody.
	// It is called in the middle of reads, by many at once, and must not block.
	Suspect func(blobstore.CopyID)
}

func (c Config) suspect(id blobstore.CopyID) {
	if c.Suspect != nil {
		c.Suspect(id)
	}
}

func (c Config) marker() marker { return marker{c.Incarnation, c.Name} }

func (c Config) files(root *os.Root) Files {
	if c.Files != nil {
		return c.Files(root)
	}
	return SystemFiles(root)
}

// Store is a blobstore.Store in a directory.
type Store struct {
	root    *os.Root
	files   Files
	marker  marker
	suspect func(blobstore.CopyID)
	chunks  *buffers // for a whole chunk
	pieces  *buffers // for what an Append has read and not written, smaller, for slow clients hold it long

	mu      sync.Mutex
	uploads map[blobstore.UploadID]*upload // at work, or with their hash in memory
	hashing map[blobstore.CopyID]*hashing  // linked copies that are read for the first time
	uses    uint64                         // counts up, to know which upload was not used for longest
	closed  bool

	ending     chan struct{} // closed by Close
	background sync.WaitGroup
}

var _ blobstore.Store = (*Store)(nil)

// Open opens a store that Create has made. Its cost does not depend on what is in it.
//
// It returns blobstore.ErrOffline if the directory or its marker is not there, a *ForeignError (is
// ErrForeign) if the store is another incarnation's or has another name, and ErrMarker if the marker cannot be read.
func Open(c Config) (*Store, error) {
	root, err := os.OpenRoot(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open store: %w: %w", blobstore.ErrOffline, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		root:    root,
		files:   c.files(root),
		marker:  c.marker(),
		suspect: c.suspect,
		chunks:  newBuffers(blobstore.ChunkSize),
		pieces:  newBuffers(pieceSize),
		uploads: map[blobstore.UploadID]*upload{},
		hashing: map[blobstore.CopyID]*hashing{},
		ending:  make(chan struct{}),
	}
	if err := checkMarker(s.files, s.marker); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", c.Dir, err), root.Close())
	}
	return s, nil
}

// Incarnation is that of the marker.
func (s *Store) Incarnation() blobstore.Incarnation { return s.marker.incarnation }

// Check reads the marker again. It returns blobstore.ErrOffline, or as Open does.
func (s *Store) Check(context.Context) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.fault("check store", checkMarker(s.files, s.marker))
}

// Close ends the use of the directory. Calls under way may fail with blobstore.ErrClosed; what they had
// been given up to then is there when the store is opened again. Streams that are open go on.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var idle []*upload
	for id, u := range s.uploads {
		if !u.busy {
			idle = append(idle, u)
			delete(s.uploads, id)
		}
	}
	s.mu.Unlock()
	close(s.ending)
	s.background.Wait()
	errs := make([]error, 0, len(idle)+1)
	for _, u := range idle {
		errs = append(errs, u.close())
	}
	return errors.Join(append(errs, s.root.Close())...)
}

func (s *Store) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return blobstore.ErrClosed
	}
	return nil
}
