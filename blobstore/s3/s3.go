// Package s3 keeps copies in a bucket of an S3-compatible store, which all nodes of a cluster share.
//
//	<root>/<cluster id>/marker            whose prefix this is; made once, when the cluster is new
//	<root>/<cluster id>/<copy id>         the bytes of a copy, nothing else
//	<root>/<cluster id>/<copy id>.sums    CRC32C of each chunk, if there is more than one
//
// A node that starts writes a key of a copy that nobody will know, to see how the bucket takes it, and removes it.
//
// A key is written once: a late repetition, or a late removal by a node that was paused, hits what nobody will ever
// use again (GC R20). Nothing outside of the cluster's prefix is listed, read, written or removed, so that many
// clusters may share a bucket.
//
// An upload is a multipart upload to the key of the copy that it will be, with a list of parts of our own: what a
// store says of its parts is old, or nothing, in too many of them. A part is collected in a file of this node
// before it is sent, because a store wants its length and its hash first, and a part may be 5 GiB: files keep
// what is in memory apart from how many uploads there are, and how large. Finish sends what is left, and Publish
// makes the object visible. An upload is this process's alone: after its end the others say that it is unknown,
// and clients begin that blob again. What the bucket then still holds of it is in the list of uploads as one of
// nobody, and is aborted when no part has come for as long as uploads may be silent (orphans.go).
//
// The package may not know what the copies mean to anyone. It acts on no time that the bucket tells.
//
// Invariants kept here: 1 (each part is sent with the hash of what was received, and the store refuses another one;
// the size of the object is looked at before Publish returns) and 11 (each chunk is compared with its sum as it
// comes, a blob of a single chunk with its digest).
//
// Start reading at Store, then append.go, finish.go and publish.go (the way in), open.go and source.go (the way
// out); adopt.go is for bytes that another cluster has in the bucket already; bucket.go is every request that is made.
package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// Config says which bucket is whose store.
type Config struct {
	Bucket  Bucket
	Root    string // the prefix of all keys, "" or "/" for none
	Scratch string // a directory of this store alone, for bytes that are not sent yet; what is in it is removed

	// PartSize is that of the first 1,000 parts of an upload, in bytes; it doubles every 1,000. Less than MinPartSize
	// counts as that.
	PartSize int64
	// Parallel is how many parts of one upload are sent at a time, at most.
	Parallel int
	// MaxCopied is how large an object may be that the bucket copies by one request, and CopiedPart how much of a larger
	// one each request copies, in bytes.
	MaxCopied, CopiedPart int64
	Timing                Timing

	Logger hclog.Logger // nil logs nothing
	// Suspect is told of a copy that is gone, or not what was published, whoever came upon it; nil tells nobody.
	// It is called in the middle of reads, by many at once, and must not block.
	Suspect func(blobstore.CopyID)
	// Files returns what the scratch directory is used through; nil stands for disk.SystemFiles.
	Files func(*os.Root) disk.Files
}

// DefaultConfig lacks only which bucket, cluster and directory.
func DefaultConfig() Config {
	return Config{PartSize: 10 << 20, Parallel: 3, MaxCopied: 5 << 30, CopiedPart: 1 << 30, Timing: DefaultTiming()}
}

// Timing is how long what may take.
type Timing struct {
	Stall    time.Duration // a request that moves no byte for so long is given up, and repeated
	Answer   time.Duration // and one that was sent whole and is not answered
	Assemble time.Duration // the same for the request that makes one object of all parts
	Backoff  time.Duration // before the first repetition; doubled each time, and ten times as long if the store is busy
	Longest  time.Duration // of these
	Attempts int           // of one request
	Trust    time.Duration // a marker that was seen is not looked for again, where nothing is removed or made visible
	Tidy     time.Duration // to remove what an upload has left in the bucket
}

// DefaultTiming is for a store that answers within seconds.
func DefaultTiming() Timing {
	return Timing{
		Stall: 30 * time.Second, Answer: time.Minute, Assemble: 10 * time.Minute, Backoff: 100 * time.Millisecond,
		Longest: 10 * time.Second, Attempts: 6, Trust: 5 * time.Second, Tidy: time.Minute,
	}
}

// check returns what keeps a store from being made.
func (c Config) check() error {
	switch {
	case c.Bucket.Name == "" || c.Bucket.Region == "":
		return errors.New("a bucket and a region are needed")
	case c.Parallel < 1 || c.Timing.Attempts < 1:
		return errors.New("without a part or an attempt nothing is sent")
	case c.CopiedPart < 1:
		return errors.New("by parts of nothing nothing is copied")
	}
	return nil
}

// Store is a blobstore.Store in a bucket.
type Store struct {
	bucket  *bucket
	sums    *cache
	scratch *scratch
	config  Config
	log     hclog.Logger
	chunks  sync.Pool // of *[]byte, each a chunk long
	pieces  sync.Pool // of *[]byte: what an Append has read and not written, smaller, for slow clients hold it long

	// Written by Attach, and read by who has found that it is attached.
	keys    keys
	marker  *marker
	onlyNew bool // the bucket refuses to write a key that is there

	mu         sync.Mutex
	uploads    map[blobstore.UploadID]*upload
	ended      []blobstore.UploadID          // those of which only the id is kept, as they ended
	multiparts map[string]struct{}           // the bucket's names of those that these uploads have begun
	orphans    map[blobstore.UploadID]orphan // of the newest list
	attached   bool
	closed     bool
}

var _ blobstore.Store = (*Store)(nil)

// New makes a store that is offline until Attach, and asks nothing of the bucket. What former processes have left in
// the scratch directory is removed.
func New(ctx context.Context, c Config) (*Store, error) {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Suspect == nil {
		c.Suspect = func(blobstore.CopyID) {}
	}
	if c.Files == nil {
		c.Files = disk.SystemFiles
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	c.PartSize = firstSize(c.PartSize)
	b, err := newBucket(ctx, c.Bucket, c.Timing, c.Logger)
	if err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	s := &Store{
		bucket:     b,
		sums:       newCache(),
		config:     c,
		log:        c.Logger,
		chunks:     sync.Pool{New: func() any { b := make([]byte, blobstore.ChunkSize); return &b }},
		pieces:     sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }},
		uploads:    map[blobstore.UploadID]*upload{},
		multiparts: map[string]struct{}{},
		orphans:    map[blobstore.UploadID]orphan{},
	}
	if s.scratch, err = openScratch(c); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	return s, nil
}

// Attach brings a store online that is not: that of the cluster with this id. Only who knows that the cluster has no
// copies in a bucket may set empty, which makes the marker if it is missing: a store that is missing is offline
// otherwise, not new. One call at a time; its cost does not depend on what is in the bucket.
//
// It returns blobstore.ErrOffline if the bucket or its marker is not there, ErrForeign, which is offline too, if the
// marker is another cluster's, and ErrNotEmpty if there are copies and no marker.
func (s *Store) Attach(ctx context.Context, cluster string, empty bool) error {
	if s.Attached() {
		return nil
	}
	if !isClusterID(cluster) {
		return fmt.Errorf("attach store: %q is not the id of a cluster: letters and digits are", cluster)
	}
	k := newKeys(s.config.Root, cluster)
	m := &marker{bucket: s.bucket, keys: k, trust: s.config.Timing.Trust}
	err := m.check(ctx)
	if empty && errors.Is(err, blobstore.ErrOffline) && !errors.Is(err, ErrForeign) {
		err = m.make(ctx)
	}
	if err != nil {
		return fmt.Errorf("attach store: %w", err)
	}
	onlyNew, err := s.probe(ctx, k)
	if err != nil {
		return fmt.Errorf("attach store: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.marker, s.onlyNew, s.attached = k, m, onlyNew, true
	return nil
}

// Attached reports whether Attach has succeeded.
func (s *Store) Attached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// Incarnation is zero: the copies belong to no node.
func (s *Store) Incarnation() blobstore.Incarnation { return blobstore.Incarnation{} }

// Check looks for the marker. It returns blobstore.ErrOffline, or blobstore.ErrUnreachable if the bucket does not
// answer.
func (s *Store) Check(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.marker.check(ctx); err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	return nil
}

// Usage is that of the file system which the scratch directory lies in: a bucket is never full, and what this node
// takes has to go through there.
func (s *Store) Usage(ctx context.Context) (blobstore.Usage, error) {
	if err := s.look(ctx); err != nil {
		return blobstore.Usage{}, err
	}
	u, err := s.scratch.usage()
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	return u, nil
}

// Close ends the use of the bucket. Calls under way may fail with blobstore.ErrClosed; unfinished uploads are
// forgotten. Streams that are open go on.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.bucket.transport.CloseIdleConnections()
	return s.scratch.Close()
}

// ready returns what keeps every call from being done.
func (s *Store) ready(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errors.Join(blobstore.ErrClosed, ctx.Err())
	case !s.attached:
		return fmt.Errorf("%w: it was not looked for yet", blobstore.ErrOffline)
	}
	return ctx.Err()
}

// look is Check for calls that remove nothing and make nothing visible: a marker that was just seen will do.
func (s *Store) look(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	return s.marker.lately(ctx)
}
