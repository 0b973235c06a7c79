package compaction_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/seed-16d79997/zot/jobs/compaction"
)

// file is one of so many bytes, of which some are free; compacting it frees them, or fails.
type file struct {
	size, free int64
	fails      error
	compacted  int
}

func (f *file) Space() (size, free int64, err error) { return f.size, f.free, nil }

func (f *file) Compact(context.Context) error {
	f.compacted++
	if f.fails == nil {
		f.size, f.free = f.size-f.free, 0
	}
	return f.fails
}

func (f *file) as(name string, least int64) compaction.File {
	return compaction.File{Name: name, Least: least, Space: f.Space, Compact: f.Compact}
}

func TestHalfFreeFilesAreCompacted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file  file
		after int64
	}{
		"half is free":         {file{size: 100, free: 50}, 50},
		"not quite half":       {file{size: 100, free: 49}, 100},
		"nearly all":           {file{size: 1000, free: 999}, 1},
		"nothing":              {file{size: 1000}, 1000},
		"too small":            {file{size: 99, free: 98}, 99},
		"it cannot be done":    {file{size: 100, free: 50, fails: errors.New("disk failed")}, 100},
		"it is not even there": {file{}, 0},
	} {
		f := test.file
		due := f.size >= 100 && f.free >= f.size/2
		all := compaction.NewFiles(f.as("state", 100))
		done, err := all.Compact(t.Context())
		if err != nil || len(done) > 1 || (len(done) == 1) != due || f.compacted > 1 || f.size != test.after {
			t.Errorf("%s: %+v, %v, compacted %d times, has %d bytes", name, done, err, f.compacted, f.size)
			continue
		}
		if due {
			r := done[0]
			failed := ""
			if f.fails != nil {
				failed, test.after = f.fails.Error(), 0
			}
			if r.File != "state" || r.Before != test.file.size || r.After != test.after || r.Error != failed {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if use := all.Use(); !slices.Equal(use, []compaction.Use{{File: "state", Size: f.size, Free: f.free}}) {
			t.Errorf("%s: %+v", name, use)
		}
	}
}

func TestFilesAreCompactedOneByOne(t *testing.T) {
	t.Parallel()
	one, two := &file{size: 100, free: 60, fails: errors.New("disk failed")}, &file{size: 100, free: 60}
	all := compaction.NewFiles(one.as("state", 1), two.as("log", 1))
	if done, err := all.Compact(t.Context()); err != nil || len(done) != 2 || done[1].After != 40 {
		t.Errorf("%+v, %v", done, err)
	}
	two.size, two.free = 100, 60
	ctx, cancel := context.WithCancel(t.Context())
	first := one.as("state", 1)
	first.Compact = func(ctx context.Context) error {
		if _, err := all.Compact(ctx); !errors.Is(err, compaction.ErrBusy) {
			t.Errorf("a second time at once: %v", err)
		}
		cancel()
		return ctx.Err()
	}
	all = compaction.NewFiles(first, two.as("log", 1))
	if done, err := all.Compact(ctx); !errors.Is(err, context.Canceled) || len(done) != 1 || two.free != 60 {
		t.Errorf("whose context has ended: %+v, %v, %+v", done, err, two)
	}
	broken := compaction.File{Name: "state", Space: func() (int64, int64, error) { return 0, 0, errors.New("closed") }}
	all = compaction.NewFiles(broken)
	if done, err := all.Compact(t.Context()); err == nil || len(done) != 0 || len(all.Use()) != 0 {
		t.Errorf("of one that cannot be looked at: %+v, %v", done, err)
	}
}
