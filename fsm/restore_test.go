package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

func TestEncodingOfRestores(t *testing.T) {
	id := fsm.BackupID(bytes.Repeat([]byte{7}, 32))
	golden(t, fsm.BeginRestore{Backup: id, Sum: bytes.Repeat([]byte{8}, 32), Level: 1, Stores: []string{"default"}, Records: 3})
	golden(t, fsm.RestoreRecords{
		Backup: id, After: fsm.RestoreCursor{Bucket: "tags", Key: []byte("a")}, Through: fsm.RestoreCursor{Bucket: "tags", Key: []byte("b")},
		Bucket: "tags", Records: []fsm.RestoredRecord{{Key: []byte("b"), Value: []byte("v")}, {Key: []byte("c")}},
	})
	golden(t, fsm.EndRestore{Backup: id})
}

// savedOf is a backup of a replica's state.
func savedOf(t testing.TB, r *replica) *fsm.Saved {
	t.Helper()
	s, err := fsm.OpenSaved(t.TempDir(), bytes.NewReader(snapshotOf(t, r)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// emptyCluster is a replica with a member and a store, and nothing in it.
func emptyCluster(t testing.TB, stores ...string) *replica {
	t.Helper()
	r := newReplica(t)
	do(r, fsm.ClusterFormed{Name: "new", ID: []byte("new id")})
	do(r, fsm.NodeStarted{Node: entry.Node{Incarnation: node(1), Name: "n1", Level: 1}})
	do(r, fsm.NodeJoined{Incarnation: node(1)})
	for _, name := range stores {
		do(r, fsm.SetStore{Name: name, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	}
	return r
}

// fill pushes an image of one layer with a tag, and deletes another tag.
func fill(t testing.TB, r *replica) {
	t.Helper()
	for _, blob := range []string{"layer", "left alone"} {
		do(r, fsm.BlobStored{
			Repository: "a", Store: "default", Digest: dig(blob), Size: int64(len(blob)),
			Locations: []fsm.Location{{Incarnation: node(1), Copy: fsm.CopyID{blob[1]}}}, Stamp: r.time,
		})
	}
	do(r, fsm.PutManifest{
		Repository: "a", Store: "default", Digest: dig("manifest"), Size: 8, MediaType: "m", Body: []byte("manifest"),
		Blobs: []fsm.Digest{dig("layer")}, Tags: []fsm.TagMove{{Tag: "v1"}, {Tag: "v2"}},
	})
	do(r, fsm.DeleteTag{Repository: "a", Tag: "v2"})
	do(r, fsm.CreateAPIKey{Hash: fsm.HashSecret("s"), ID: fsm.KeyID{1}, Owner: "ann"})
	do(r, fsm.PutSession{Cookie: fsm.HashSecret("c"), Subject: "ann", Expires: r.date.Add(time.Hour).UnixMilli()})
}

// bring applies what a backup brings after a place, n commands at most.
func bring(t testing.TB, r *replica, s *fsm.Saved, after fsm.RestoreCursor, n int) fsm.RestoreCursor {
	t.Helper()
	for range n {
		c, more, err := s.Next(after)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		do(r, c)
		after = c.Through
	}
	return after
}

const allOfIt = 1 << 20

func beginOf(t testing.TB, s *fsm.Saved) fsm.BeginRestore {
	t.Helper()
	c, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRestoreOfABackup(t *testing.T) {
	from := emptyCluster(t, "default")
	fill(t, from)
	s := savedOf(t, from)
	to := emptyCluster(t, "default")
	begin := beginOf(t, s)
	do(to, begin)
	do(to, begin) // again
	after := bring(t, to, s, fsm.RestoreCursor{}, 2)
	refused(to, fsm.ErrRestoring, fsm.DeleteTag{Repository: "a", Tag: "v1"})
	refused(to, fsm.ErrRestoreStep, fsm.EndRestore{Backup: s.ID()})
	to.view(func(v fsm.View) {
		if under, is := v.Restoring(); !is || under.Backup != s.ID() || under.Done != 2 || under.Records != begin.Records {
			t.Errorf("under way: %+v, %t", under, is)
		}
	})
	to.sound()
	bring(t, to, s, after, allOfIt)
	do(to, fsm.EndRestore{Backup: s.ID()})
	ended := to.index
	do(to, fsm.EndRestore{Backup: s.ID()})
	to.sound()
	if err := to.Recount(t.Context(), unpaced); err != nil {
		t.Error(err)
	}
	to.view(func(v fsm.View) {
		if _, under := v.Restoring(); under {
			t.Error("it is still under way")
		}
		if last, is := v.Restored(); !is || last.Backup != s.ID() || last.Number != ended {
			t.Errorf("restored: %+v, %t", last, is)
		}
		if c, _ := v.Cluster(); string(c.ID) != "new id" {
			t.Errorf("the cluster became %q", c.ID)
		}
		if b, known := v.Blob("default", dig("layer")); !known || !b.Damaged || len(b.Copies) != 0 || b.Size != 5 {
			t.Errorf("the layer is %+v, %t", b, known)
		}
		if _, known := v.Blob("default", dig("left alone")); known {
			t.Error("a blob that no manifest names was restored")
		}
		if tags := v.Tags("a", "", 10); len(tags) != 1 || tags[0].Name != "v1" {
			t.Errorf("tags: %+v", tags)
		}
		if deleted := v.DeletedTags("a"); len(deleted) != 1 || deleted[0] != "v2" {
			t.Errorf("deleted tags: %v", deleted)
		}
		if _, known := v.APIKey(fsm.HashSecret("s")); !known {
			t.Error("the API key is gone")
		}
		if _, known := v.Session(fsm.HashSecret("c"), from.date); known {
			t.Error("a login came along")
		}
		lacking, last := v.Lacking("default", "", 10)
		if len(lacking) != 1 || lacking[0].Digest != dig("layer") || lacking[0].Repository != "a" || last != dig("layer") {
			t.Errorf("lacking: %+v, %s", lacking, last)
		}
	})

	// A push heals it, as any damaged blob.
	do(to, fsm.BlobStored{
		Repository: "a", Store: "default", Digest: dig("layer"), Size: 5, Stamp: to.time,
		Locations: []fsm.Location{{Incarnation: node(1), Copy: fsm.CopyID{99}}},
	})
	to.view(func(v fsm.View) {
		if lacking, _ := v.Lacking("default", "", 10); len(lacking) != 0 {
			t.Errorf("still lacking: %+v", lacking)
		}
	})
	to.sound()
}

// A backup of the restored state holds what the first held.
func TestRestoreOfARestoredBackup(t *testing.T) {
	from := emptyCluster(t, "default")
	fill(t, from)
	first := savedOf(t, from)
	to := emptyCluster(t, "default")
	do(to, beginOf(t, first))
	half := savedOf(t, to)
	if _, err := half.Begin(); err == nil {
		t.Error("half a restore is taken for a backup")
	}
	bring(t, to, first, fsm.RestoreCursor{}, allOfIt)
	do(to, fsm.EndRestore{Backup: first.ID()})
	second := savedOf(t, to)
	if a, b := beginOf(t, first), beginOf(t, second); !bytes.Equal(a.Sum, b.Sum) || a.Records != b.Records {
		t.Errorf("%d records with %x became %d with %x", a.Records, a.Sum, b.Records, b.Sum)
	}
}

func TestRestoreIsRefused(t *testing.T) {
	from := emptyCluster(t, "default", "other")
	fill(t, from)
	s, other := savedOf(t, from), savedOf(t, emptyCluster(t, "default"))
	begin := beginOf(t, s)

	lacks := emptyCluster(t)
	refused(lacks, fsm.ErrStoreUnknown, begin)
	refused(lacks, fsm.ErrRestoreOver, fsm.EndRestore{Backup: s.ID()})
	next, _, err := s.Next(fsm.RestoreCursor{})
	if err != nil {
		t.Fatal(err)
	}
	refused(lacks, fsm.ErrRestoreOver, next)

	full := emptyCluster(t, "default")
	fill(t, full)
	refused(full, fsm.ErrNotEmpty, begin)
	keys := emptyCluster(t, "default")
	do(keys, fsm.CreateAPIKey{Hash: fsm.HashSecret("s"), ID: fsm.KeyID{1}, Owner: "ann"})
	refused(keys, fsm.ErrNotEmpty, begin)

	to := emptyCluster(t, "default")
	newer := begin
	newer.Level = 2
	refused(to, fsm.ErrLevelTooLow, newer)
	do(to, begin)
	refused(to, fsm.ErrRestoring, beginOf(t, other))
	refused(to, fsm.ErrRestoreOver, fsm.EndRestore{Backup: other.ID()})
	do(to, next)
	refused(to, fsm.ErrRestoreStep, next) // it has come
	missing, _, err := s.Next(next.Through)
	if err != nil {
		t.Fatal(err)
	}
	ahead, _, err := s.Next(missing.Through)
	if err != nil {
		t.Fatal(err)
	}
	refused(to, fsm.ErrRestoreStep, ahead) // what is before it is missing
	missing.Records[0].Value = append(missing.Records[0].Value, 0)
	do(to, missing) // somebody has changed it on its way
	bring(t, to, s, missing.Through, allOfIt)
	refused(to, fsm.ErrRestoreStep, fsm.EndRestore{Backup: s.ID()})
}

// A large backup comes in steps that each go through the log.
func TestRestoreInSteps(t *testing.T) {
	from := emptyCluster(t, "default")
	const images = 2500
	var puts []fsm.PutManifest
	for i := range images {
		body := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 300)
		puts = append(puts, fsm.PutManifest{
			Repository: fmt.Sprintf("r%d", i%7), Store: "default", Digest: dig(string(body)), Size: int64(len(body)), MediaType: "m", Body: body,
			Tags: []fsm.TagMove{{Tag: fmt.Sprint(i)}},
		})
	}
	doAll(from, puts)
	s := savedOf(t, from)
	begin := beginOf(t, s)
	to, twin := emptyCluster(t, "default"), emptyCluster(t, "default")
	steps := 0
	for _, r := range []*replica{to, twin} {
		do(r, begin)
	}
	for at := (fsm.RestoreCursor{}); ; steps++ {
		c, more, err := s.Next(at)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		if size := len(payloadOf(t, c)); size > 200<<10 || len(c.Records) > 1000 {
			t.Fatalf("a step has %d bytes, %d records", size, len(c.Records))
		}
		do(to, c)
		do(twin, c)
		at = c.Through
	}
	if steps < 20 {
		t.Errorf("%d steps", steps)
	}
	do(to, fsm.EndRestore{Backup: s.ID()})
	do(twin, fsm.EndRestore{Backup: s.ID()})
	to.sound()
	if to.hash() != twin.hash() {
		t.Error("two replicas differ")
	}
}

// A saved state that is not as it was written is not opened.
func TestSavedStateIsChecked(t *testing.T) {
	from := emptyCluster(t, "default")
	fill(t, from)
	stream := snapshotOf(t, from)
	for name, spoil := range map[string]func([]byte) []byte{
		"cut short":   func(b []byte) []byte { return b[:len(b)-40] },
		"a bit":       func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"begins else": func(b []byte) []byte { b[0] = 'x'; return b },
	} {
		dir := t.TempDir()
		if _, err := fsm.OpenSaved(dir, bytes.NewReader(spoil(bytes.Clone(stream)))); !errors.Is(err, fsm.ErrSnapshotInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
}
