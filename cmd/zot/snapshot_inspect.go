package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/fsm"
)

// source is a snapshot that is to be read: a file with a state, or one of a place.
type source struct {
	place backupPlace // nil for a file
	file  string
	about described // of one of a place
}

// openSource finds a snapshot: that of a file, the one named, or the newest of a place. The caller closes its place.
func openSource(ctx context.Context, name string, f placeFlags) (s source, err error) {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return source{file: name}, nil
	}
	where, id := splitPlace(name)
	if s.place, err = openBackups(ctx, where, f); err != nil {
		return s, err
	}
	if id == "" {
		ids, err := snapshotsIn(ctx, s.place)
		if err == nil && len(ids) == 0 {
			err = fmt.Errorf("there is no snapshot in %s", s.place)
		}
		if err != nil {
			return s, errors.Join(err, s.place.Close())
		}
		id = ids[len(ids)-1]
	}
	if s.about, err = readDescribed(ctx, s.place, id); err != nil {
		return s, errors.Join(err, s.place.Close())
	}
	return s, nil
}

func (s source) close() error {
	if s.place == nil {
		return nil
	}
	return s.place.Close()
}

func (s source) String() string {
	if s.place == nil {
		return s.file
	}
	return s.about.ID + " in " + s.place.String()
}

// state opens the saved state in a directory for temporary files. It fails unless it is as it was written, and fits
// together.
func (s source) state(ctx context.Context, tmp string) (saved *fsm.Saved, err error) {
	var r io.ReadCloser
	if s.place == nil {
		r, err = os.Open(s.file)
	} else {
		r, _, err = s.place.Open(ctx, fileIn(s.about.ID, stateName))
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	saved, err = fsm.OpenSaved(tmp, io.TeeReader(r, sum))
	if err = errors.Join(err, r.Close()); err == nil {
		if have := hex.EncodeToString(sum.Sum(nil)); s.place != nil && (have != s.about.State.SHA256 || saved.ID() != s.about.Backup) {
			err = fmt.Errorf("the state has SHA-256 %s, and %s says %s", have, describedName, s.about.State.SHA256)
		}
		if err == nil {
			err = soundState(saved)
		}
		if err != nil {
			err = errors.Join(err, saved.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s cannot be used: %w", s, err)
	}
	return saved, nil
}

// hashSaved hashes the blobs of a place that a saved state needs and that are to be hashed, and returns those that are
// not what they should be.
func hashSaved(ctx context.Context, p backupPlace, saved *fsm.Saved, show *display, which func(digest string, size int64) bool) (bad []missingBlob, err error) {
	var all []missingBlob
	total := int64(0)
	seen := map[fsm.Digest]bool{}
	err = saved.View(func(v fsm.View) error {
		for b := range v.Needed() {
			if text := b.Digest.String(); !seen[b.Digest] && which(text, b.Size) {
				seen[b.Digest] = true
				all = append(all, missingBlob{text, b.Size, b.Repository, ""})
				total += b.Size
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	bar := newProgress(show, "hashing blobs", total, bytesText)
	defer bar.end()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(snapshotWorkers)
	for _, b := range all {
		group.Go(func() error {
			err := hashOne(ctx, p, b, bar)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, errBytes), errors.Is(err, fs.ErrNotExist):
				mu.Lock()
				defer mu.Unlock()
				b.Why = whyBad(err)
				bad = append(bad, b)
				return nil
			default:
				return err
			}
		})
	}
	err = group.Wait()
	slices.SortFunc(bad, func(a, b missingBlob) int { return strings.Compare(a.Digest, b.Digest) })
	return bad, err
}

// whyBad is what is wrong with a blob of a backup, in words.
func whyBad(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "it is not in the backup"
	}
	return "what the backup has of it is damaged: " + errBytes.Error()
}

// openSaved opens a blob of a place, which is hashed as it is read.
func openSaved(ctx context.Context, p backupPlace, digest string, size int64) (io.Reader, io.Closer, error) {
	body, have, err := p.Open(ctx, blobFile(digest))
	if err != nil {
		return nil, nil, err
	}
	r, err := newDigested(body, digest, size)
	if err == nil && have >= 0 && have != size {
		err = errBytes
	}
	if err != nil {
		return nil, nil, errors.Join(err, body.Close())
	}
	return r, body, nil
}

func hashOne(ctx context.Context, p backupPlace, b missingBlob, bar *progress) error {
	r, closer, err := openSaved(ctx, p, b.Digest, b.Size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, &counting{from: r, into: bar})
	return errors.Join(err, closer.Close())
}
