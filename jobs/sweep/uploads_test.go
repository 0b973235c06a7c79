package sweep_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

const day = 24 * time.Hour

// register is a store with uploads as a test lists them.
type register struct {
	*shelf
	uploads []blobstore.Upload
}

func (r *register) Uploads(context.Context, blobstore.UploadID) iter.Seq2[blobstore.Upload, error] {
	return func(yield func(blobstore.Upload, error) bool) {
		if err := r.fault(); err != nil {
			yield(blobstore.Upload{}, err)
			return
		}
		for _, u := range slices.Clone(r.uploads) {
			if !yield(u, nil) {
				return
			}
		}
	}
}

func (r *register) RemoveUpload(_ context.Context, id blobstore.UploadID) error {
	if id == (blobstore.UploadID{99}) {
		return errStuck
	}
	r.uploads = slices.DeleteFunc(r.uploads, func(u blobstore.Upload) bool { return u.ID == id })
	return nil
}

func newRegister(t *testing.T, uploads ...blobstore.Upload) (*world, *register, jobs.Job) {
	t.Helper()
	w := newWorld(t)
	w.pass(3 * day)
	for i := range uploads {
		uploads[i].ID = blobstore.UploadID{byte(i + 1)}
		if uploads[i].Active > 0 { // relative to now, so that it says how long ago
			uploads[i].Active = blobstore.Time(w.now()) - uploads[i].Active
		}
	}
	r := &register{shelf: w.blobs, uploads: uploads}
	all, err := sweep.New(sweep.Deps{Store: fsm.DefaultStore, Blobs: r, State: w.state, Consistency: w, Proposer: w})
	if err != nil {
		t.Fatal(err)
	}
	return w, r, all[2]
}

func TestSilentUploads(t *testing.T) {
	t.Parallel()
	const ago = blobstore.Time(day)
	for name, test := range map[string]struct {
		upload blobstore.Upload
		left   bool
	}{
		"silent for a day":          {blobstore.Upload{Active: ago}, false},
		"silent for nearly a day":   {blobstore.Upload{Active: ago - blobstore.Time(time.Second)}, true},
		"a call is at work on it":   {blobstore.Upload{Active: 2 * ago, Writing: true}, true},
		"finished and left":         {blobstore.Upload{Active: ago, Finished: true}, false},
		"ended a day ago":           {blobstore.Upload{Active: ago, Ended: true}, false},
		"ended just now":            {blobstore.Upload{Active: 1, Ended: true}, true},
		"time lost in a power cut":  {blobstore.Upload{}, true},
		"time from before a backup": {blobstore.Upload{Active: blobstore.Time(-day)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r, job := newRegister(t, test.upload)
			if err := job.Do(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := len(r.uploads) == 1; left != test.left {
				t.Errorf("left: %t, want %t", left, test.left)
			}
		})
	}
}

// One whose time is of no use counts from when it was first seen; one that is then gone on with does not.
func TestUploadsWithoutATimeGoADayAfterTheyWereSeen(t *testing.T) {
	t.Parallel()
	w, r, job := newRegister(t, blobstore.Upload{}, blobstore.Upload{})
	do := func(want int) {
		t.Helper()
		if err := job.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(r.uploads) != want {
			t.Fatalf("%d uploads are left, want %d", len(r.uploads), want)
		}
	}
	do(2)
	w.pass(day - time.Second)
	do(2)
	r.uploads[1].Active = blobstore.Time(w.now())
	w.pass(time.Second)
	do(1)
	if r.uploads[0].ID != (blobstore.UploadID{2}) {
		t.Errorf("left is %s", r.uploads[0].ID)
	}
	w.pass(day)
	do(0)
}

func TestUploadThatCannotBeRemovedKeepsNoOther(t *testing.T) {
	t.Parallel()
	_, r, job := newRegister(t, blobstore.Upload{Active: blobstore.Time(day)}, blobstore.Upload{Active: blobstore.Time(day)})
	r.uploads[0].ID = blobstore.UploadID{99}
	if err := job.Do(t.Context()); !errors.Is(err, errStuck) {
		t.Errorf("error %v", err)
	}
	if len(r.uploads) != 1 || r.uploads[0].ID != (blobstore.UploadID{99}) {
		t.Errorf("left are %v", r.uploads)
	}
}

func TestUploadsOfAnOfflineStoreStay(t *testing.T) {
	t.Parallel()
	_, r, job := newRegister(t, blobstore.Upload{Active: blobstore.Time(day)})
	r.setOffline(true)
	if err := job.Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
		t.Errorf("error %v", err)
	}
	if len(r.uploads) != 1 {
		t.Error("the upload is gone")
	}
}

// The real store says that a call is at work: an upload that takes more than a day is no silent one.
func TestUploadThatIsWrittenForDaysStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow, idle := blobstore.UploadID{1}, blobstore.UploadID{2}
	for _, id := range []blobstore.UploadID{slow, idle} {
		if err := w.blobs.CreateUpload(t.Context(), id, "", blobstore.Time(w.now())); err != nil {
			t.Fatal(err)
		}
	}
	from, to := io.Pipe()
	done := make(chan error)
	go func() { // waited for below
		_, err := w.blobs.Append(t.Context(), slow, 0, from, blobstore.Time(w.now()))
		done <- err
	}()
	if _, err := to.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	w.pass(2 * day)
	w.run(uploads)
	_ = to.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := w.blobs.Upload(t.Context(), slow); err != nil {
		t.Errorf("the slow upload: %v", err)
	}
	if _, err := w.blobs.Upload(t.Context(), idle); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("the idle upload: %v", err)
	}
}
