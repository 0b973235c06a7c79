package sweep_test

import (
	"errors"
	"os"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/sweep"
)

// roomy is a file system that has room for a test, however full the disk below it is.
type roomy struct{ disk.Files }

func (roomy) Usage() (total, free int64, err error) { return 1 << 40, 1 << 40, nil }

// All three jobs on a real directory, whose marker goes and comes back as with a file system that is not
// mounted (GC R12, R13).
func TestStoreOnADiskThatIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	c := disk.Config{Dir: t.TempDir(), Incarnation: blobstore.Incarnation(self()), Files: func(root *os.Root) disk.Files { return roomy{disk.SystemFiles(root)} }}
	if err := disk.Create(c); err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := newWorldOn(t, store)

	old, stray, silent := w.doom("pushed twice"), copyOf(w.write("never recorded")), blobstore.UploadID{1}
	if err := store.EndUpload(t.Context(), silent, blobstore.Time(w.now())); err != nil {
		t.Fatal(err)
	}
	w.run(unknown)
	w.pass(2 * day)
	marker, aside := disk.MarkerPath(c.Dir), disk.MarkerPath(c.Dir)+".aside"
	if err := os.Rename(marker, aside); err != nil {
		t.Fatal(err)
	}
	for _, j := range w.all {
		if err := j.Do(t.Context()); !errors.Is(err, blobstore.ErrOffline) {
			t.Errorf("%s, without a marker: %v", j.Name, err)
		}
	}
	if err := os.Rename(aside, marker); err != nil {
		t.Fatal(err)
	}
	w.expect(old, true, fsm.CopyDoomed)
	w.expect(stray, true, fsm.CopyUnknown)
	for _, j := range w.all {
		if err := j.Do(t.Context()); err != nil {
			t.Errorf("%s: %v", j.Name, err)
		}
	}
	w.expect(old, false, fsm.CopyUnknown)
	w.expect(stray, false, fsm.CopyUnknown)
	if _, err := store.Upload(t.Context(), silent); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("the ended upload: %v", err)
	}
}

func TestNewRefusesHalfASweeper(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := sweep.Deps{Store: fsm.DefaultStore, Blobs: w.blobs, State: w.state, Consistency: w, Proposer: w}
	for name, part := range map[string]func(d *sweep.Deps){
		"no name":        func(d *sweep.Deps) { d.Store = "" },
		"no store":       func(d *sweep.Deps) { d.Blobs = nil },
		"no state":       func(d *sweep.Deps) { d.State = nil },
		"no consistency": func(d *sweep.Deps) { d.Consistency = nil },
		"no proposer":    func(d *sweep.Deps) { d.Proposer = nil },
	} {
		d := whole
		part(&d)
		if _, err := sweep.New(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
