package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/fsm"
)

// snapshotRounds is how often the state is taken anew while blobs that it needs are collected before they are read.
const snapshotRounds = 5

// saver makes a backup of state and bytes.
type saver struct {
	node   *snapshotClient
	to     backupPlace
	verify bool   // hash again what is there
	tmp    string // a directory of its own
	show   *display

	have map[string]int64 // sizes of the blobs that are there, by digest

	fetched int   // blobs that were put there
	bytes   int64 // of these
}

// wanted is a blob that the backup needs, and where it may be read.
type wanted struct {
	digest       string
	size         int64
	repositories []string // one for each store that has it
	damaged      bool     // in all of these
}

// taken is a state that was taken.
type taken struct {
	saved  *fsm.Saved
	stream string // the file with its stream
	about  described
}

// saveFile writes the state alone, as a stream that carries its own hash.
func saveFile(ctx context.Context, node *snapshotClient, file, tmp string) (d described, err error) {
	s := &saver{node: node, tmp: tmp}
	t, err := s.take(ctx)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	f, err := os.Open(t.stream)
	if err != nil {
		return d, err
	}
	defer f.Close() //nolint:errcheck // it was read
	return t.about, putFile(file, filepath.Dir(file), t.about.State.Bytes, f)
}

// run makes a backup. Its last act is to describe it: before that there is none, whatever has been put there.
func (s *saver) run(ctx context.Context) (d described, err error) {
	if dir, ok := s.to.(directory); ok {
		if err := dir.tidy(); err != nil {
			return d, err
		}
	}
	if err := s.list(ctx); err != nil {
		return d, fmt.Errorf("list the blobs in %s: %w", s.to, err)
	}
	for round := 1; ; round++ {
		t, err := s.take(ctx)
		if err != nil {
			return d, err
		}
		before := s.fetched
		missing, gone, err := s.fetch(ctx, t)
		// What took long is followed by a newer state, of which little is not there yet. And so is a blob that went
		// between state and read: the newer state does not need it, or says that it is damaged.
		last := round == snapshotRounds || gone == 0 && (round > 1 || s.fetched == before)
		if err == nil && last {
			t.about.Missing = append(t.about.Missing, missing...)
			err = s.put(ctx, &t)
		}
		if err := errors.Join(err, t.close()); err != nil || last {
			return t.about, err
		}
	}
}

func (s *saver) list(ctx context.Context) error {
	s.have = map[string]int64{}
	for o, err := range s.to.List(ctx, blobsPrefix) {
		if err != nil {
			return err
		}
		algorithm, hex, _ := strings.Cut(strings.TrimPrefix(o.Name, blobsPrefix), "/")
		s.have[algorithm+":"+hex] = o.Size
	}
	return nil
}

// take takes the newest state, and looks whether it is sound.
func (s *saver) take(ctx context.Context) (t taken, err error) {
	dir, err := os.MkdirTemp(s.tmp, "state-")
	if err != nil {
		return t, err
	}
	t.stream = filepath.Join(dir, stateName)
	stream, err := s.node.state(ctx)
	if err != nil {
		return t, err
	}
	f, err := os.OpenFile(t.stream, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return t, errors.Join(err, stream.Close())
	}
	sum := sha256.New()
	t.saved, err = fsm.OpenSaved(dir, io.TeeReader(stream, io.MultiWriter(f, sum)))
	if err := errors.Join(err, stream.Close(), f.Close()); err != nil {
		if t.saved != nil {
			err = errors.Join(err, t.saved.Close())
		}
		return t, fmt.Errorf("take the state: %w", err)
	}
	if err = soundState(t.saved); err == nil {
		t.about, err = describe(t.saved)
	}
	info, statErr := os.Stat(t.stream)
	if err := errors.Join(err, statErr); err != nil {
		return t, errors.Join(fmt.Errorf("take the state: %w; see 'zot cluster verify'", err), t.close())
	}
	t.about.State.Bytes, t.about.State.SHA256 = info.Size(), hex.EncodeToString(sum.Sum(nil))
	t.about.Made = time.Now().UTC().Truncate(time.Millisecond)
	t.about.ID = snapshotID(t.about.Made, t.about.Backup)
	return t, nil
}

func (t taken) close() error {
	return errors.Join(t.saved.Close(), os.Remove(t.stream))
}

// need lists what a state needs and is not there, each digest once, and the bytes of that.
func (s *saver) need(t taken) (all []*wanted, bytes int64, err error) {
	by := map[fsm.Digest]*wanted{}
	err = t.saved.View(func(v fsm.View) error {
		for b := range v.Needed() {
			text := b.Digest.String()
			if size, there := s.have[text]; there && size == b.Size {
				continue
			}
			w := by[b.Digest]
			if w == nil {
				w = &wanted{digest: text, size: b.Size, damaged: true}
				by[b.Digest] = w
				all = append(all, w)
				bytes += b.Size
			}
			w.repositories = append(w.repositories, b.Repository)
			w.damaged = w.damaged && b.Damaged
		}
		return nil
	})
	return all, bytes, err
}

// fetch puts there what a state needs. It returns what could not be had, and how much of that was gone although the
// state says nothing of it.
func (s *saver) fetch(ctx context.Context, t taken) (missing []missingBlob, gone int, err error) {
	if s.verify {
		s.verify = false
		if err := s.hashAgain(ctx, t); err != nil {
			return nil, 0, err
		}
	}
	all, bytes, err := s.need(t)
	if err != nil {
		return nil, 0, err
	}
	p := newProgress(s.show, "saving blobs", bytes, bytesText)
	var mu sync.Mutex
	outer := ctx
	group, ctx := errgroup.WithContext(ctx) // it ends with the first error
	group.SetLimit(snapshotWorkers)
	for _, w := range all {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := s.fetchOne(ctx, w, p)
			var fatal placeError
			if errors.As(err, &fatal) || errors.Is(err, errNoNode) || ctx.Err() != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				s.have[w.digest] = w.size
				s.fetched, s.bytes = s.fetched+1, s.bytes+w.size
				return nil
			}
			missing = append(missing, missingBlob{w.digest, w.size, w.repositories[0], err.Error()})
			if a, ok := errors.AsType[answered](err); ok && a.status == http.StatusNotFound && !w.damaged {
				gone++
			}
			return nil
		})
	}
	err = errors.Join(group.Wait(), outer.Err())
	p.end()
	if err != nil {
		return nil, 0, fmt.Errorf("%w; what has been saved stays there, and the same command goes on from there", err)
	}
	slices.SortFunc(missing, func(a, b missingBlob) int { return strings.Compare(a.Digest, b.Digest) })
	return missing, gone, nil
}

// placeError is one of the place of a backup, after which nothing more can be put there.
type placeError struct{ error }

func (p placeError) Unwrap() error { return p.error }

// errDamaged is for a blob of which the cluster has no good copy.
var errDamaged = errors.New("the cluster has no good copy of it")

// fetchOne puts one blob there, from any of the stores that have it.
func (s *saver) fetchOne(ctx context.Context, w *wanted, p *progress) (err error) {
	if w.damaged {
		return errDamaged
	}
	for _, repository := range w.repositories {
		err = patiently(ctx, func() error { return s.fetchFrom(ctx, repository, w, p) })
		if err == nil {
			return nil
		}
	}
	return err
}

func (s *saver) fetchFrom(ctx context.Context, repository string, w *wanted, p *progress) (err error) {
	body, err := s.node.pull(ctx, repository, w.digest)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // it was read
	r, err := newDigested(body, w.digest, w.size)
	if err != nil {
		return err
	}
	seen := &noting{from: r}
	counted := &counting{from: seen, into: p}
	if err := s.to.Put(ctx, blobFile(w.digest), w.size, counted); err != nil {
		counted.undo()
		if seen.err == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return placeError{fmt.Errorf("save a blob in %s: %w", s.to, err)}
		}
		return err
	}
	return nil
}

// noting remembers the error with which a stream ended, so that it can be told from those of where it went.
type noting struct {
	from io.Reader
	err  error
}

// Read returns what comes.
func (n *noting) Read(p []byte) (int, error) {
	k, err := n.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// hashAgain hashes what is there of what a state needs. What is bad is fetched anew.
func (s *saver) hashAgain(ctx context.Context, t taken) error {
	bad, err := hashSaved(ctx, s.to, t.saved, s.show, func(digest string, size int64) bool { have, there := s.have[digest]; return there && have == size })
	for _, m := range bad {
		delete(s.have, m.Digest)
	}
	return err
}

// put writes the state of a backup, then what describes it.
func (s *saver) put(ctx context.Context, t *taken) error {
	f, err := os.Open(t.stream)
	if err != nil {
		return err
	}
	err = s.to.Put(ctx, fileIn(t.about.ID, stateName), t.about.State.Bytes, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save the state in %s: %w", s.to, err)
	}
	content, err := json.MarshalIndent(t.about, "", "  ")
	if err != nil {
		return err
	}
	content = append(content, '\n')
	if err := s.to.Put(ctx, fileIn(t.about.ID, describedName), int64(len(content)), bytes.NewReader(content)); err != nil {
		return fmt.Errorf("describe the snapshot in %s: %w", s.to, err)
	}
	return nil
}
