package compaction

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrBusy is returned by Compact while another call is at work.
var ErrBusy = errors.New("the node compacts its files already")

// File is one that its owner can compact while it is in use.
type File struct {
	Name  string
	Least int64 // bytes; a smaller one is left alone, whatever is free in it

	// Space is how many bytes the file has, and how many of them nothing is in.
	Space func() (size, free int64, err error)
	// Compact returns when the file is as small as it can be. If it fails, the file is as it was.
	Compact func(ctx context.Context) error
}

// Result is what became of a file that was due.
type Result struct {
	File        string  `json:"file"`
	Before      int64   `json:"before"` // bytes
	After       int64   `json:"after,omitempty"`
	TookSeconds float64 `json:"tookSeconds"`
	Error       string  `json:"error,omitempty"` // "": it was compacted
}

// Files are those of one node. Its methods may be called concurrently.
type Files struct {
	all []File
	one sync.Mutex // held by the one who compacts
}

// NewFiles returns the files of a node, which are compacted in this order.
func NewFiles(all ...File) *Files { return &Files{all: all} }

// Use is how a file's bytes are used.
type Use struct {
	File string `json:"file"`
	Size int64  `json:"bytes"`
	Free int64  `json:"freeBytes"` // of these, nothing is in them
}

// Use is how large the files are. One that cannot be looked at is left out.
func (f *Files) Use() []Use {
	all := []Use{}
	for _, file := range f.all {
		if size, free, err := file.Space(); err == nil {
			all = append(all, Use{file.Name, size, free})
		}
	}
	return all
}

// Compact compacts the files of which half is free, one after the other, and returns what became of each of these.
//
// It fails with ErrBusy, with the context's error, and if a file cannot be looked at.
func (f *Files) Compact(ctx context.Context) ([]Result, error) {
	if !f.one.TryLock() {
		return nil, ErrBusy
	}
	defer f.one.Unlock()
	all := []Result{}
	for _, file := range f.all {
		size, free, err := file.Space()
		if err != nil {
			return all, fmt.Errorf("look at the file of the %s: %w", file.Name, err)
		}
		if size < file.Least || free < size/2 {
			continue
		}
		all = append(all, file.compact(ctx, size))
		if err := ctx.Err(); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (f File) compact(ctx context.Context, size int64) Result {
	began := time.Now()
	err := f.Compact(ctx)
	r := Result{File: f.Name, Before: size, TookSeconds: time.Since(began).Seconds()}
	if err == nil {
		r.After, _, err = f.Space()
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}
