package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// home is the node's own directory, held by this process alone.
type home struct {
	*cluster.Directory
	path    string
	members []string // whom 'zot cluster join' has left word of, beside the members of the configuration
	lock    *os.File
}

// membersName is the file of the node's directory that holds an address a line.
const membersName = "members"

// openHome finds out who the node of the root directory is, or makes it a new one. The caller closes it.
//
// It fails if another process has it, and with words on what to do if it is a lost disk.
func openHome(c config.Config) (*home, error) {
	if err := refuseOriginal(c.Storage); err != nil {
		return nil, err
	}
	h := &home{path: filepath.Join(c.Storage.RootDirectory, "node")}
	if err := os.MkdirAll(h.path, 0o700); err != nil {
		return nil, fmt.Errorf("make the node's directory: %w", err)
	}
	if err := h.take(); err != nil {
		return nil, err
	}
	if err := h.readMembers(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	directory, err := cluster.OpenDirectory(h.path, fsm.SystemFiles(), h.traces(c)...)
	if err != nil {
		return nil, errors.Join(lostDisk(err, c), h.Close())
	}
	h.Directory = directory
	return h, nil
}

// traces are what a node leaves behind beside its log and state: the markers of its stores, and that it made them.
func (h *home) traces(c config.Config) (all []string) {
	for _, s := range c.Storage.All() {
		if s.Bucket == nil && s.RootDirectory != "" {
			all = append(all, disk.MarkerPath(s.RootDirectory))
		}
		all = append(all, h.noteName(s.Name))
	}
	return all
}

// readMembers fails for a file that is there and not as it should be: a node that does not look for its cluster
// might begin one of its own.
func (h *home) readMembers() error {
	name := filepath.Join(h.path, membersName)
	content, err := os.ReadFile(name) //nolint:gosec // a path of the node's own directory
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read whom to look for: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(line); err != nil {
			return fmt.Errorf("%s: %q is no host:port: mend or remove the line", name, line)
		}
		h.members = append(h.members, line)
	}
	return nil
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
	case hasJoined(c) && !c.Cluster.HasOthers():
		return fmt.Errorf("%w: what this node has promised is no longer here, so it must not go on under its old identity. "+
			"Empty %s, and let it join again with a new token: 'zot cluster token' on another node prints how", err, directoriesOf(c))
	case c.Cluster.HasOthers():
		return fmt.Errorf("%w: what this node has promised is no longer here, so it must not go on under its old identity. "+
			"Empty %s and start it again: it takes its old place in the cluster by itself", err, directoriesOf(c))
	default:
		return fmt.Errorf("%w: there is no other node that has what was here. Put back all of %s from a backup, "+
			"or move it away to start anew with nothing", err, directoriesOf(c))
	}
}

// directoriesOf names all directories that a node has.
func directoriesOf(c config.Config) string {
	all := []string{c.Storage.RootDirectory}
	for _, s := range c.Storage.SubPaths {
		if s.Bucket == nil && s.RootDirectory != "" {
			all = append(all, s.RootDirectory)
		}
	}
	return strings.Join(all, " and ")
}

// hasJoined reports whether 'zot cluster join' was done here.
func hasJoined(c config.Config) bool {
	_, err := os.Stat(filepath.Join(c.Storage.RootDirectory, "node", membersName))
	return err == nil
}
