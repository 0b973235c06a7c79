package fsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/bbolt"
)

// ErrNoRoom is returned by Compact if the disk has not the room for a second file.
var ErrNoRoom = errors.New("there is no room for a second file")

// errArrives ends a compaction.
var errArrives = fmt.Errorf("%w: a snapshot arrives", ErrBusy)

const (
	compactAtOnce = 256 << 10 // bytes that one step copies
	compactFill   = 0.9       // of a page: records come in order, and what is changed later needs some room

	// CompactReserve is what a compaction leaves free of the disk, in bytes: Apply, which must not fail, writes
	// to it too.
	CompactReserve = 256 << 20

	catchUpAt     = 50_000   // changed keys for which the walk stops, to copy them again
	catchUpAtOnce = 4096     // changed keys that one transaction copies, and the most for which Apply waits
	maxCatchUps   = 50       // after the walk; then the writers are too fast
	maxChanged    = 16 << 20 // bytes of changed keys that are remembered
)

// Space is how many bytes the file has, and how many of these are of pages that nothing is in.
//
// It fails with ErrClosed after Close.
func (s *State) Space() (size, free int64, err error) {
	db := s.acquire()
	if db == nil {
		return 0, 0, ErrClosed
	}
	defer s.release(db)
	info, err := db.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	stats := db.bolt.Stats()
	return info.Size(), int64(stats.FreePageN+stats.PendingPageN) * int64(db.bolt.Info().PageSize), nil
}

// Compact writes all records into a new file, which has no free pages, and puts it in the place of the old
// one. The state is read and written meanwhile: entries that are applied then are in the new file too. Views
// and snapshots of the old file stay valid until they are closed. A crash at any moment leaves the old file
// or the new one, whole.
//
// It copies in small steps, and before each asks pace, which waits as long as the caller wants, and ends the
// compaction by failing. The sums of what was copied are counted anew and compared with the running ones, so
// that what the new file holds is what Apply once wrote.
//
// It fails with pace's error; with ErrNoRoom; with ErrBusy while another one runs or a snapshot arrives, and
// it gives way to one that does; with ErrDamaged for a file that cannot be read as it was written; with
// ErrClosed after Close. The old file is the current one then. So it is if the disk fails after the new one
// has taken its place; but then nothing can be applied any more, because nobody knows which of the two a
// restart will find.
func (s *State) Compact(ctx context.Context, pace func(ctx context.Context, bytes int) error) error {
	ctx, end, err := s.beginCompaction(ctx)
	if err != nil {
		return fmt.Errorf("compact the state: %w", err)
	}
	defer end()
	old := s.acquire()
	if old == nil {
		return ErrClosed
	}
	defer s.release(old) // which closes the old file, and that may take a while
	if err := s.compact(ctx, old, pace); err != nil {
		if cause := context.Cause(ctx); cause != nil { // what it came to matters less
			err = cause
		}
		return fmt.Errorf("compact the state: %w", err)
	}
	return nil
}

func (s *State) compact(ctx context.Context, old *database, pace func(ctx context.Context, bytes int) error) error {
	size, free, err := s.Space()
	if err != nil {
		return err
	}
	if err := errors.Join(s.hasRoom(size-free), s.clear(s.compactPath())); err != nil {
		return err
	}
	made, err := openDatabase(s.compactPath(), true) // it is synced as a whole, before it is made current
	if err != nil {
		return errors.Join(err, s.clear(s.compactPath()))
	}
	c := &copying{state: s, old: old, made: made, sums: map[bucket]*sum{}}
	if err := c.run(ctx, pace); err != nil {
		return errors.Join(err, made.close(), s.clear(s.compactPath()))
	}
	return nil
}

// hasRoom fails if the disk would be left with less than the reserve after so many bytes.
func (s *State) hasRoom(size int64) error {
	room, err := s.files.Room(s.config.Dir)
	if err != nil {
		return err
	}
	if room-size < CompactReserve {
		return fmt.Errorf("%w: %d bytes are free, it takes %d, and %d stay free", ErrNoRoom, room, size, int64(CompactReserve))
	}
	return nil
}

func (s *State) compactPath() string { return s.path() + ".compact" }

// compaction is one that is under way.
type compaction struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// beginCompaction makes the caller the one that compacts, until it calls end.
func (s *State) beginCompaction(ctx context.Context) (_ context.Context, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.current == nil:
		return nil, nil, ErrClosed
	case s.compaction != nil || s.barred > 0:
		return nil, nil, ErrBusy
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &compaction{cancel, make(chan struct{})}
	s.compaction = c
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		s.compaction = nil
		s.mu.Unlock()
		close(c.done)
	}, nil
}

// barCompaction ends the compaction that is under way, with an error that says for what, waits for that, and
// lets none begin until lift is called. The caller must not hold writing.
func (s *State) barCompaction(forWhat error) (lift func()) {
	s.mu.Lock()
	s.barred++
	under := s.compaction
	s.mu.Unlock()
	if under != nil {
		under.cancel(forWhat)
		<-under.done
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.barred--
	}
}

// changes are the keys that were changed while a compaction copies. A nil one notes nothing.
type changes struct {
	keys  map[bucket]map[string]struct{}
	count int
	bytes int
	lost  bool // there were too many
}

func newChanges() *changes { return &changes{keys: map[bucket]map[string]struct{}{}} }

func (c *changes) note(b bucket, key []byte) {
	if c == nil || c.lost {
		return
	}
	keys := c.keys[b]
	if keys == nil {
		keys = map[string]struct{}{}
		c.keys[b] = keys
	}
	if _, known := keys[string(key)]; known {
		return
	}
	keys[string(key)] = struct{}{}
	c.count++
	c.bytes += len(key)
	c.lost = c.bytes > maxChanged
}

// record is one that is to be copied. A nil value is of one that is no more.
type record struct {
	bucket     bucket
	key, value []byte
}

// copying is a new file on the way. It is written as the State is, so that the sums of what is in it are
// counted; those that Apply counted come with the records of the local bucket.
//
// It reads in many short views. What was changed since a record was copied is noted by Apply, and copied
// again: whenever the last such note has been seen to, the two files are equal.
type copying struct {
	state     *State
	old, made *database
	sums      map[bucket]*sum
	unchecked int // bytes written since there was last seen to be room
}

func (c *copying) run(ctx context.Context, pace func(ctx context.Context, bytes int) error) error {
	err := c.write(nil, func(bolt *bbolt.Tx) error {
		for _, b := range append(replicated(), local) {
			c.sums[b] = &sum{}
			if _, err := bolt.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.state.noteChanges(newChanges())
	defer c.state.noteChanges(nil)
	for _, b := range append(replicated(), local) {
		if err := c.walk(ctx, b, pace); err != nil {
			return err
		}
	}
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	// Most of the file becomes durable here, and little is left to do while Apply waits.
	if err := c.state.files.Sync(c.state.compactPath()); err != nil {
		return err
	}
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	return c.finish(ctx)
}

// noteChanges has Apply note what it changes from now on, and returns what it has noted until now.
func (s *State) noteChanges(in *changes) (until *changes) {
	s.writing.Lock() // or a transaction might note a change, and not have made it yet
	defer s.writing.Unlock()
	until, s.changes = s.changes, in
	return until
}

// pending is how many changes are noted.
func (s *State) pending() int {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.changes.count
}

// walk copies a bucket.
func (c *copying) walk(ctx context.Context, b bucket, pace func(ctx context.Context, bytes int) error) error {
	var last []byte
	for more := true; more; {
		if err := pace(ctx, c.state.compactAtOnce); err != nil {
			return err
		}
		page, whole, err := c.page(b, last)
		if err != nil || len(page) == 0 {
			return err
		}
		more = whole // or who appends to the bucket could have it go on for ever
		fill := func(bolt *bbolt.Tx) error {
			bolt.Bucket([]byte(b)).FillPercent = compactFill
			return nil
		}
		if err := c.write(page, fill); err != nil {
			return err
		}
		last = page[len(page)-1].key
		if c.state.pending() >= catchUpAt {
			if err := c.copyChanges(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// page reads the records of a bucket that follow a key, as many as one step copies; whole: there were so many.
func (c *copying) page(b bucket, last []byte) (page []record, whole bool, err error) {
	size := 0
	err = c.state.View(func(v View) error {
		for k, value := range v.scan(b, nil, last) {
			if last != nil && bytes.Equal(k, last) {
				continue
			}
			page = append(page, record{b, bytes.Clone(k), append([]byte{}, value...)})
			if size += len(k) + len(value); size >= c.state.compactAtOnce {
				whole = true
				break
			}
		}
		return nil
	})
	return page, whole, err
}

// catchUp copies what was changed until so little is left that Apply can wait for it.
func (c *copying) catchUp(ctx context.Context) error {
	for range maxCatchUps {
		if c.state.pending() <= catchUpAtOnce/4 {
			return nil
		}
		if err := c.copyChanges(ctx); err != nil {
			return err
		}
	}
	return errors.New("more is changed than can be copied meanwhile")
}

// copyChanges copies what was changed until now.
func (c *copying) copyChanges(ctx context.Context) error {
	rest, err := c.state.noteChanges(newChanges()).list()
	for ; err == nil && len(rest) > 0; rest = rest[min(len(rest), catchUpAtOnce):] {
		if err = ctx.Err(); err != nil {
			break
		}
		some := rest[:min(len(rest), catchUpAtOnce)]
		if err = c.state.View(func(v View) error { v.fill(some); return nil }); err == nil {
			err = c.write(some, nil)
		}
	}
	return err
}

// list are the records that were changed, without their values.
func (c *changes) list() ([]record, error) {
	if c.lost {
		return nil, errors.New("more is changed meanwhile than can be remembered")
	}
	var all []record
	for _, b := range append(replicated(), local) {
		for _, key := range slices.Sorted(maps.Keys(c.keys[b])) {
			all = append(all, record{bucket: b, key: []byte(key)})
		}
	}
	return all, nil
}

// fill reads the values of records.
func (v View) fill(records []record) {
	for i, r := range records {
		if value := v.get(r.bucket, r.key); value != nil {
			records[i].value = append([]byte{}, value...)
		}
	}
}

// write puts records into the new file.
func (c *copying) write(records []record, first func(bolt *bbolt.Tx) error) (err error) {
	defer func() { err = orDamaged(recover(), err) }()
	if c.unchecked >= 64*c.state.compactAtOnce {
		c.unchecked = 0
		if err := c.state.hasRoom(0); err != nil {
			return err
		}
	}
	return c.made.update(func(bolt *bbolt.Tx) error {
		if first != nil {
			if err := first(bolt); err != nil {
				return err
			}
		}
		t := tx{reader: reader{bolt}, sums: c.sums}
		for _, r := range records {
			c.unchecked += len(r.key) + len(r.value)
			if r.value == nil {
				t.del(r.bucket, r.key)
			} else {
				t.put(r.bucket, r.key, r.value)
			}
		}
		return nil
	})
}

// finish copies the last changes while nothing is applied, and makes the new file the current one if the two
// are equal.
func (c *copying) finish(ctx context.Context) error {
	damage, err := c.lockedFinish(ctx)
	if damage != nil {
		c.state.fence(c.old, damage.Error())
	}
	return errors.Join(damage, err)
}

func (c *copying) lockedFinish(ctx context.Context) (damage, err error) {
	s := c.state
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	last, err := s.changes.list()
	if err != nil {
		return nil, err
	}
	var kept []record // of the local bucket
	damage, err = c.old.read(func(v View) error {
		v.fill(last)
		kept = v.all(local)
		return nil
	})
	if damage != nil || err != nil {
		return damage, err
	}
	if err := c.write(last, nil); err != nil {
		return nil, err
	}
	if err := c.compare(kept); err != nil {
		s.log.Error("a compacted file differs from the one that it was made of", "error", err)
		return nil, err
	}
	placed, err := s.putInPlace(s.compactPath())
	if err != nil {
		if placed {
			c.old.broken.Store(true) // a restart may find either: what is written to one may be in the other
			s.log.Error("nothing can be applied any more", "error", err)
		}
		return nil, err
	}
	c.made.bolt.NoSync = s.config.NoSync
	s.replace(c.made, s.memory())
	return nil, nil
}

// all are the records of a bucket.
func (v View) all(b bucket) (all []record) {
	for k, value := range v.scan(b, nil, nil) {
		all = append(all, record{b, bytes.Clone(k), bytes.Clone(value)})
	}
	return all
}

// compare fails unless the new file's records add up to the sums that Apply has kept, and what this node keeps
// for itself, the position among it, is what the old file has.
func (c *copying) compare(kept []record) error {
	damage, err := c.made.read(func(v View) error {
		for _, b := range replicated() {
			if running := v.runningSum(b); *c.sums[b] != running {
				return fmt.Errorf("%w: bucket %s: the records that were copied add up to %x, the running sum is %x",
					ErrDamaged, b, c.sums[b].bytes(), running.bytes())
			}
		}
		if !slices.EqualFunc(v.all(local), kept, func(a, b record) bool {
			return bytes.Equal(a.key, b.key) && bytes.Equal(a.value, b.value)
		}) {
			return errors.New("the local records are not those of the old file")
		}
		if have, want := v.Position(), c.state.Position(); have.Index != want.Index || have.Term != want.Term || have.Time != want.Time {
			return fmt.Errorf("it has come to %d of term %d at %d, the old one to %d of term %d at %d",
				have.Index, have.Term, have.Time, want.Index, want.Term, want.Time)
		}
		return nil
	})
	return errors.Join(damage, err)
}
