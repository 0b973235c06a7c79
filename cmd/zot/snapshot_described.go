package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// snapshotFormat is what this binary writes and reads.
const snapshotFormat = 1

// maxDescribed bounds what is read of a description.
const maxDescribed = 1 << 30

// described is a snapshot as its snapshot.json has it.
type described struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Made    time.Time `json:"made"`
	Cluster struct {
		Name string `json:"name"`
		ID   string `json:"id"`
	} `json:"cluster"`
	Index     uint64       `json:"index"` // log index and term that the state had come to
	Term      uint64       `json:"term"`
	StateTime string       `json:"stateTime"`
	Level     uint32       `json:"level"`
	Backup    fsm.BackupID `json:"backup"` // what the stream of the state ends with: the SHA-256 of all before
	State     struct {
		Bytes  int64  `json:"bytes"`
		SHA256 string `json:"sha256"`
	} `json:"state"`
	Repositories int           `json:"repositories"`
	Manifests    int           `json:"manifests"`
	Tags         int           `json:"tags"`
	Blobs        int           `json:"blobs"` // distinct digests
	Bytes        int64         `json:"bytes"` // of these
	Stores       []string      `json:"stores"`
	Missing      []missingBlob `json:"missing"` // whose bytes are not in the backup
}

// missingBlob is one whose bytes could not be had, or are not there.
type missingBlob struct {
	Digest     string `json:"digest"`
	Size       int64  `json:"size"`
	Repository string `json:"repository"`
	Why        string `json:"why"`
}

func (m missingBlob) String() string {
	return fmt.Sprintf("%s (%s) of %s: %s", m.Digest, bytesText(m.Size), m.Repository, m.Why)
}

// snapshotID names a snapshot so that names are in the order of time.
func snapshotID(made time.Time, backup fsm.BackupID) string {
	return made.UTC().Format("20060102T150405.000Z") + "-" + backup.String()[:8]
}

// isSnapshotID reports whether a name is one that snapshotID makes.
func isSnapshotID(name string) bool {
	return regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}$`).MatchString(name)
}

// splitPlace tells a place from a snapshot in it, PLACE/ID or PLACE/snapshots/ID.
func splitPlace(name string) (place, id string) {
	name = strings.TrimRight(name, "/")
	if last := path.Base(name); isSnapshotID(last) {
		return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, last), "/"), "/snapshots"), last
	}
	return name, ""
}

// snapshotsIn lists the ids of the snapshots of a place, the oldest first.
func snapshotsIn(ctx context.Context, p backupPlace) (ids []string, err error) {
	for o, err := range p.List(ctx, snapshotsPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list the snapshots in %s: %w", p, err)
		}
		id, file := path.Split(strings.TrimPrefix(o.Name, snapshotsPrefix))
		if id = strings.TrimSuffix(id, "/"); file == describedName && isSnapshotID(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// readDescribed reads the description of a snapshot.
func readDescribed(ctx context.Context, p backupPlace, id string) (d described, err error) {
	r, _, err := p.Open(ctx, fileIn(id, describedName))
	if errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("there is no snapshot %s in %s: 'zot cluster snapshot inspect' lists those that are", id, p)
	}
	if err != nil {
		return d, err
	}
	content, err := io.ReadAll(io.LimitReader(r, maxDescribed))
	if err = errors.Join(err, r.Close()); err != nil {
		return d, err
	}
	if err := json.Unmarshal(content, &d); err != nil {
		return d, fmt.Errorf("%s of snapshot %s in %s cannot be read: %w", describedName, id, p, err)
	}
	if d.Format != snapshotFormat {
		return d, fmt.Errorf("snapshot %s in %s has format %d, this binary reads %d", id, p, d.Format, snapshotFormat)
	}
	return d, nil
}

// describe says what is in a saved state.
func describe(s *fsm.Saved) (d described, err error) {
	d.Format, d.Backup, d.Stores, d.Missing = snapshotFormat, s.ID(), []string{}, []missingBlob{}
	return d, s.View(func(v fsm.View) error {
		c, _ := v.Cluster()
		p, t := v.Position(), v.Totals()
		d.Cluster.Name, d.Cluster.ID = c.Name, fmt.Sprintf("%x", c.ID)
		d.Index, d.Term, d.StateTime, d.Level = p.Index, p.Term, time.Duration(p.Time).String(), v.Level()
		d.Repositories, d.Manifests, d.Tags = t.Repositories, t.Manifests, t.Tags
		for _, store := range v.Stores() {
			d.Stores = append(d.Stores, store.Name)
		}
		seen := map[fsm.Digest]bool{}
		for b := range v.Needed() {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				d.Blobs++
				d.Bytes += b.Size
			}
		}
		return nil
	})
}

// soundState fails unless a saved state fits together, each record of it.
func soundState(s *fsm.Saved) error {
	return s.View(func(v fsm.View) error {
		if found := v.Check(); len(found) > 0 {
			return fmt.Errorf("the saved state does not fit together: %s", strings.Join(found[:min(len(found), 3)], "; "))
		}
		return nil
	})
}
