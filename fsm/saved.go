package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Saved is a backup of a state, opened to be read: the stream of a Snapshot, unpacked into a file of its own.
type Saved struct {
	db *database
	id BackupID
}

// OpenSaved unpacks a stream into a new file in dir, which is removed by Close, and opens it.
//
// It fails with ErrSnapshotInvalid for a stream that is not as it was sent, with ErrLevelUnknown for the state of a
// newer binary, and with the errors of r and of the disk.
func OpenSaved(dir string, r io.Reader) (*Saved, error) {
	path := filepath.Join(dir, FileName)
	s := &Saved{}
	if err := s.unpack(path, r); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack a saved state: %w", err), removeIfThere(path))
	}
	return s, nil
}

func (s *Saved) unpack(path string, r io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // as the caller names it
	if err != nil {
		return err
	}
	s.id, err = copySnapshot(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := checkSnapshot(path); err != nil {
		return err
	}
	if s.db, err = openDatabase(path, true); err != nil {
		return err
	}
	if err := s.db.update(fitBuckets); err != nil {
		return errors.Join(err, s.db.close())
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Close closes the file and removes it.
func (s *Saved) Close() error {
	path := s.db.bolt.Path()
	return errors.Join(s.db.close(), removeIfThere(path))
}

// ID names the backup.
func (s *Saved) ID() BackupID { return s.id }

// View calls fn with the saved state and returns its error. It may take its time.
//
// It fails with ErrDamaged for a file that cannot be read as it was written.
func (s *Saved) View(fn func(v View) error) error {
	damage, err := s.db.read(fn)
	return errors.Join(damage, err)
}

// SavedBlob is a blob that a backup needs the bytes of.
type SavedBlob struct {
	BlobName
	Repository string // one in which a manifest needs it
	Size       int64
	Damaged    bool // no good copy was known
}

// Needed yields the blobs that some manifest needs, those in several stores several times, store by store and in
// the order of their digests. What is only leased is not among them: it is part of a push that has not ended.
func (v View) Needed() iter.Seq[SavedBlob] {
	return func(yield func(SavedBlob) bool) {
		m := v.membership()
		for key, value := range v.scan(blobs, nil, nil) {
			store, d := splitStoreKey(key)
			n, repository := v.needed(store, d)
			if n == 0 {
				continue
			}
			b := mustDecode[blobRecord](value)
			if !yield(SavedBlob{BlobName{store, d}, repository, b.Size, !b.usable(m)}) {
				return
			}
		}
	}
}

// Lacking returns the blobs of a store that have no good copy and that some manifest needs, from the one behind after
// on, and of these the last that was looked at; it looks at n at most.
func (v View) Lacking(store string, after Digest, n int) (all []SavedBlob, last Digest) {
	for _, d := range v.Damaged(store, after, n) {
		last = d
		if links, repository := v.needed(store, d); links > 0 {
			b, _ := v.blob(store, d)
			all = append(all, SavedBlob{BlobName{store, d}, repository, b.Size, true})
		}
	}
	return all, last
}

// Begin is the command with which the restore of the backup begins. It reads all of it.
//
// It fails with ErrDamaged, and for a backup of a restore that was under way.
func (s *Saved) Begin() (BeginRestore, error) {
	c := BeginRestore{Backup: s.id}
	err := s.View(func(v View) error {
		if _, under := v.Restoring(); under {
			return errors.New("the state was saved in the middle of a restore, and is not whole")
		}
		sums, named := map[bucket]sum{}, map[string]bool{}
		for _, part := range contents() {
			var total sum
			for key, value := range v.scan(part.from, nil, nil) {
				if k, value, ok := part.of(v.reader, key, value); ok {
					total.add(sumOf(part.bucket, k, value))
					c.Records++
				}
			}
			sums[part.bucket] = total
		}
		for _, value := range v.scan(repositories, nil, nil) {
			named[mustDecode[repositoryRecord](value).Store] = true
		}
		for b := range v.Needed() {
			named[b.Store] = true
		}
		c.Sum = contentHash(func(b bucket) sum { return sums[b] })
		c.Level, c.Stores = v.level(), slices.Sorted(maps.Keys(named))
		return nil
	})
	return c, err
}

// Next is the command that brings what follows a place in the backup, and false if nothing does.
//
// It fails with ErrDamaged.
func (s *Saved) Next(after RestoreCursor) (c RestoreRecords, more bool, err error) {
	c = RestoreRecords{Backup: s.id, After: after}
	err = s.View(func(v View) error {
		for i, part := range contents() {
			var from []byte
			if at := restorable(bucket(after.Bucket)); i < at {
				continue
			} else if i == at {
				from = after.Key
			}
			if c.fill(v.reader, part, from); len(c.Records) > 0 {
				more = true
				return nil
			}
		}
		return nil
	})
	return c, more, err
}

// fill puts records of one bucket into the command, as many as it may have.
func (c *RestoreRecords) fill(r reader, part restoredBucket, after []byte) {
	size := 0
	for key, value := range r.scan(part.from, nil, after) {
		if after != nil && bytes.Equal(key, after) {
			continue
		}
		k, value, ok := part.of(r, key, value)
		if !ok {
			continue
		}
		if size += len(k) + len(value); len(c.Records) > 0 && size > restoreAtOnce || len(c.Records) == maxRestoreRecords {
			return
		}
		c.Bucket = string(part.bucket)
		c.Through = RestoreCursor{c.Bucket, bytes.Clone(key)}
		c.Records = append(c.Records, RestoredRecord{bytes.Clone(k), bytes.Clone(value)})
	}
}

// Totals counts what a saved state holds.
type Totals struct {
	Repositories, Manifests, Tags int
}

// Totals counts. It goes through all of it: it is for a saved state, never for a request.
func (v View) Totals() Totals {
	count := func(b bucket) int { return v.countRecords(b, -1) }
	return Totals{count(repositories), count(manifests), count(tags)}
}
