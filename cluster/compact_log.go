package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Why the log was not compacted. Its old file is the current one then.
var (
	ErrLogBusy   = errors.New("the log is compacted already")
	ErrLogMoved  = errors.New("entries of the log were removed meanwhile")
	ErrLogNoRoom = errors.New("there is no room for a second file")
)

const (
	compactBytes = 1 << 20 // of entries that one transaction copies
	compactLast  = 64      // entries for which writers wait, at most
	maxCatchUps  = 50      // then the writers are too fast

	// compactReserve is what a compaction leaves free of the disk, in bytes: a write of the log that fails stops
	// the node.
	compactReserve = 256 << 20
)

// LogSpace is how many bytes the log's file has, and how many of these are of pages that nothing is in.
func (n *Node) LogSpace() (size, free int64, err error) { return n.logs.space() }

// CompactLog writes what is in the log's file, votes too, into a new one, which has no free pages, and puts it in
// the place of the old one. Entries are appended and read meanwhile. Before each of its steps it asks pace, which
// waits as long as the caller wants, and ends the compaction by failing. A crash at any moment leaves the old file
// or the new one, whole.
//
// It fails with pace's error, ErrLogBusy, ErrLogMoved, ErrLogNoRoom, or an error of the disk; then nothing has
// changed. A disk that fails after the new file has taken the old one's place, or hangs meanwhile, stops the node.
func (n *Node) CompactLog(ctx context.Context, pace func(ctx context.Context, bytes int) error) error {
	if err := n.logs.compact(ctx, pace); err != nil {
		return fmt.Errorf("compact the log: %w", err)
	}
	return nil
}

func (s *logStore) space() (size, free int64, err error) {
	s.using.RLock()
	defer s.using.RUnlock()
	info, err := s.bolt.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	stats := s.bolt.Stats()
	return info.Size(), int64(stats.FreePageN+stats.PendingPageN) * int64(os.Getpagesize()), nil
}

func (s *logStore) compact(ctx context.Context, pace func(ctx context.Context, bytes int) error) (err error) {
	if !s.compacting.TryLock() {
		return ErrLogBusy
	}
	defer s.compacting.Unlock()
	if err := errors.Join(s.hasRoom(), s.clearDraft()); err != nil {
		return err
	}
	draft, err := openLogFile(s.draft(), s.noSync)
	if err != nil {
		return errors.Join(err, s.clearDraft())
	}
	c := &logCopy{store: s, draft: draft, removals: s.removals.Load()}
	if err := c.run(ctx, pace); err != nil {
		return errors.Join(err, draft.Close(), s.clearDraft())
	}
	if err := c.old.Close(); err != nil { // nobody uses it any more
		return fmt.Errorf("close the old file: %w", err)
	}
	return nil
}

// hasRoom fails if the disk would be left with less than the reserve.
func (s *logStore) hasRoom() error {
	size, free, err := s.space()
	if err != nil {
		return err
	}
	room, err := s.files.Room(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	if room-(size-free) < compactReserve {
		return fmt.Errorf("%w: %d bytes are free, it takes %d, and %d stay free", ErrLogNoRoom, room, size-free, int64(compactReserve))
	}
	return nil
}

func (s *logStore) draft() string { return s.path + ".new" }

// clearDraft removes a file that was never current, if there is one.
func (s *logStore) clearDraft() error {
	if err := s.files.Remove(s.draft()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a log left half way: %w", err)
	}
	return nil
}

// logCopy is a new file on the way.
type logCopy struct {
	store      *logStore
	draft, old *logFile
	removals   uint64 // how often entries had been removed when it began
	last       uint64 // the last entry that is copied
}

func (c *logCopy) run(ctx context.Context, pace func(ctx context.Context, bytes int) error) error {
	first, err := c.store.FirstIndex()
	if err != nil {
		return err
	}
	c.last = max(first, 1) - 1
	for range maxCatchUps {
		last, err := c.store.LastIndex()
		if err != nil {
			return err
		}
		for c.last < last {
			if err := pace(ctx, compactBytes); err != nil {
				return err
			}
			if err := c.page(last); err != nil {
				return err
			}
		}
		if last, err = c.store.LastIndex(); err != nil {
			return err
		}
		if last <= c.last+compactLast {
			return c.finish(ctx)
		}
	}
	return errors.New("entries come faster than they can be copied")
}

// page copies entries from where the last page ended, up to one, or fewer if they are large.
func (c *logCopy) page(upTo uint64) error {
	s := c.store
	size := 0
	var logs []*raft.Log
	for index := c.last + 1; index <= upTo && size < compactBytes; index++ {
		log, err := s.toCopy(index, c.removals)
		if err != nil {
			return err
		}
		logs = append(logs, log)
		size += len(log.Data) + len(log.Extensions)
	}
	if err := c.draft.StoreLogs(summed(logs)); err != nil {
		return err
	}
	c.last += uint64(len(logs))
	return nil
}

// toCopy is an entry of a log that is open and of which nothing was removed since a compaction began.
func (s *logStore) toCopy(index, removals uint64) (*raft.Log, error) {
	s.using.RLock()
	defer s.using.RUnlock()
	if s.lost != nil {
		return nil, s.lost
	}
	if s.removals.Load() != removals {
		return nil, ErrLogMoved
	}
	log := &raft.Log{}
	err := s.read(index, log)
	if errors.Is(err, raft.ErrLogNotFound) {
		err = ErrLogMoved
	}
	return log, err
}

// finish copies what is left while nobody uses the log, and has the new file used from then on.
func (c *logCopy) finish(ctx context.Context) error {
	s := c.store
	s.using.Lock()
	defer s.using.Unlock()
	defer s.watch("compact the log")() // all writers wait for this
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.lost != nil {
		return s.lost
	}
	if s.removals.Load() != c.removals {
		return ErrLogMoved
	}
	if err := errors.Join(c.rest(), c.stable(), c.compare()); err != nil {
		return err
	}
	if err := s.files.Sync(s.draft()); err != nil {
		return fmt.Errorf("sync %s: %w", s.draft(), err)
	}
	if err := s.files.Rename(s.draft(), s.path); err != nil {
		return fmt.Errorf("make %s current: %w", s.path, err)
	}
	if err := s.files.SyncDir(filepath.Dir(s.path)); err != nil {
		// A restart may find either: a vote that is written to one may be missing in the other.
		s.lost = fmt.Errorf("a new %s is in place, but may be gone after a power cut: %w", s.path, err)
		s.failStop(s.lost)
		return s.lost
	}
	c.old, s.bolt = s.bolt, c.draft
	return nil
}

// rest copies the last entries. Whoever calls it has the log alone.
func (c *logCopy) rest() error {
	last, err := c.store.bolt.LastIndex()
	if err != nil || last <= c.last {
		return err
	}
	var logs []*raft.Log
	for index := c.last + 1; index <= last; index++ {
		log := &raft.Log{}
		if err := c.store.read(index, log); err != nil {
			return err
		}
		logs = append(logs, log)
	}
	return c.draft.StoreLogs(summed(logs))
}

// stable copies the vote and its like. A lost one would be a second vote in one term.
func (c *logCopy) stable() error {
	for _, key := range stableKeys() {
		value, err := c.store.bolt.Get([]byte(key))
		if errors.Is(err, raftboltdb.ErrKeyNotFound) {
			continue
		}
		if err == nil {
			err = c.draft.Set([]byte(key), value)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", key, err)
		}
	}
	return nil
}

// compare fails unless both files have the same entries and values.
func (c *logCopy) compare() error {
	bolt := c.store.bolt
	for what, index := range map[string]func(f *logFile) (uint64, error){
		"first": func(f *logFile) (uint64, error) { return f.FirstIndex() },
		"last":  func(f *logFile) (uint64, error) { return f.LastIndex() },
	} {
		want, err := index(bolt)
		have, err2 := index(c.draft)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if have != want {
			return fmt.Errorf("the %s entry that was copied is %d, and not %d", what, have, want)
		}
	}
	for _, key := range stableKeys() {
		want, err := bolt.Get([]byte(key))
		have, err2 := c.draft.Get([]byte(key))
		if !bytes.Equal(have, want) || !errors.Is(err2, err) {
			return fmt.Errorf("%s that was copied is %x, %w, and not %x, %w", key, have, err2, want, err)
		}
	}
	return nil
}
