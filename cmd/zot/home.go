package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// home is the node's own directory, held by this process alone.
type home struct {
	*cluster.Directory
	path string
	lock *os.File
}

// openHome finds out who the node of the root directory is, or makes it a new one. The caller closes it.
//
// It fails if another process has it, and with words on what to do if it is a lost disk.
func openHome(c config.Config) (*home, error) {
	h := &home{path: filepath.Join(c.Storage.RootDirectory, "node")}
	if err := os.MkdirAll(h.path, 0o700); err != nil {
		return nil, fmt.Errorf("make the node's directory: %w", err)
	}
	if err := h.take(); err != nil {
		return nil, err
	}
	directory, err := cluster.OpenDirectory(h.path, fsm.SystemFiles(), disk.MarkerPath(c.Storage.RootDirectory))
	if err != nil {
		return nil, errors.Join(lostDisk(err, c), h.Close())
	}
	h.Directory = directory
	return h, nil
}

// take locks the directory: two processes that both make a new node of it would mix their files.
func (h *home) take() error {
	lock, err := os.OpenFile(filepath.Join(h.path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the node's lock: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another zot runs in %s: stop it, or give each its own storage.rootDirectory", h.path)
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	h.lock = lock
	return nil
}

// Close lets another process have the directory.
func (h *home) Close() error { return h.lock.Close() }

// lostDisk adds to an error what a person can do about it.
func lostDisk(err error, c config.Config) error {
	switch {
	case !errors.Is(err, cluster.ErrLostDisk) && !errors.Is(err, fsm.ErrDamaged):
		return err
	case c.Cluster.HasOthers():
		return fmt.Errorf("%w: what this node has promised is no longer here, so it must not go on under its old identity. "+
			"Empty %s and start it again: it takes its old place in the cluster by itself", err, c.Storage.RootDirectory)
	default:
		return fmt.Errorf("%w: there is no other node that has what was here. "+
			"`zot cluster recover` makes do with what is left, `zot cluster snapshot restore` takes a backup", err)
	}
}
