package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// place is where a machine that joins puts what it is given: its node's directory, which is held meanwhile, and the
// file of the secret.
type place struct {
	*home
	secretFile string
	owner      *owner
	files      fsm.Files
	joiner     [16]byte // who this machine is to those whom it shows a token
}

// openPlace makes sure that what is given can be kept, before a token is used up for it. The caller closes it.
//
// It fails if a node has been here, or runs here, and if the files cannot be written.
func openPlace(c config.Config, files fsm.Files) (*place, error) {
	root := c.Storage.RootDirectory
	p := &place{home: &home{path: filepath.Join(root, "node")}, secretFile: c.Cluster.SecretFile, files: files}
	if err := os.MkdirAll(p.path, 0o700); err != nil {
		return nil, fmt.Errorf("make the node's directory: %w", err)
	}
	var err error
	if p.owner, err = ownerOf(root); err != nil {
		return nil, err
	}
	if err := p.take(); err != nil {
		return nil, err
	}
	if err := p.open(c); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *place) open(c config.Config) error {
	if err := p.owner.own(p.path, p.lock.Name()); err != nil {
		return err
	}
	if trace := p.trace(c); trace != "" {
		return fmt.Errorf("%s is there, so a node has been here already. If it is one of that cluster 'zot serve' is all it needs; "+
			"if what it holds is not wanted any more, empty %s first", trace, directoriesOf(c))
	}
	if err := p.writable(); err != nil {
		return fmt.Errorf("the secret could not be written to cluster.secretFile: %w", err)
	}
	return p.remember()
}

// trace names a file that only a node leaves behind; "" if there is none. A start that had not come to its end
// leaves a beginning, which counts for nothing.
func (p *place) trace(c config.Config) string {
	there := func(name string) bool {
		_, err := os.Stat(name)
		return !errors.Is(err, os.ErrNotExist)
	}
	begun := there(filepath.Join(p.path, "incarnation.new"))
	own := []string{filepath.Join(p.path, "incarnation"), filepath.Join(p.path, cluster.LogName), filepath.Join(p.path, "fsm.db")}
	for _, name := range append(own, p.traces(c)...) {
		if there(name) && (!begun || filepath.Base(name) == "incarnation") {
			return name
		}
	}
	return ""
}

// writable tries whether the secret's draft can be made beside it.
func (p *place) writable() error {
	draft := p.secretFile + ".new"
	w, err := p.files.Create(draft)
	if err != nil {
		return err
	}
	return errors.Join(w.Close(), p.files.Remove(draft))
}

// remember finds out who this machine was when it asked before, or draws it: an answer that was lost is given again
// to nobody else.
func (p *place) remember() error {
	name := p.joinerFile()
	content, err := os.ReadFile(name) //nolint:gosec // a path of the node's own directory
	id, errHex := hex.DecodeString(string(bytes.TrimSpace(content)))
	if err == nil && errHex == nil && len(id) == len(p.joiner) {
		p.joiner = [16]byte(id)
		return nil
	}
	_, _ = rand.Read(p.joiner[:]) // never fails
	if err := replaceFile(p.files, name, hex.EncodeToString(p.joiner[:])+"\n"); err != nil {
		return fmt.Errorf("write down who asks: %w", err)
	}
	return nil
}

func (p *place) joinerFile() string { return filepath.Join(p.path, "joiner") }

// keep writes down whom to look for, and then the secret: a node that had the secret alone might begin a cluster of
// its own. It reports whether the secret was not there already.
//
// It fails if another secret is there.
func (p *place) keep(lines [][]byte, address string) (written bool, err error) {
	known, err := config.ReadSecret(p.secretFile)
	there := err == nil
	switch {
	case there && !sameLines(known, lines):
		return false, fmt.Errorf("%s holds another secret, and is left as it is: move it away and type the same command again", p.secretFile)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return false, fmt.Errorf("%w: move the file away and type the same command again", err)
	}
	members := filepath.Join(p.path, membersName)
	if err := replaceFile(p.files, members, address+"\n"); err != nil {
		return false, fmt.Errorf("write down whom to look for: %w", err)
	}
	if !there {
		if err := replaceFile(p.files, p.secretFile, string(bytes.Join(lines, []byte("\n")))+"\n"); err != nil {
			return false, fmt.Errorf("write the secret: %w", err)
		}
		if err := p.owner.own(p.secretFile); err != nil {
			return false, err
		}
	}
	if err := p.owner.own(members); err != nil {
		return false, err
	}
	if err := p.files.Remove(p.joinerFile()); err != nil {
		return false, fmt.Errorf("forget who asked: %w", err)
	}
	return !there, nil
}

// owner is whom zot runs as here: whoever owns the root directory. Somebody who types commands as root is not to
// leave files that zot cannot open.
type owner struct{ uid, gid int }

// ownerOf returns nil where nothing has to be given to anybody.
func ownerOf(root string) (*owner, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || s.Uid == 0 {
		return nil, nil
	}
	return &owner{int(s.Uid), int(s.Gid)}, nil
}

func (o *owner) own(names ...string) error {
	if o == nil {
		return nil
	}
	for _, name := range names {
		if err := os.Chown(name, o.uid, o.gid); err != nil {
			return fmt.Errorf("give the file to whom zot runs as: %w", err)
		}
	}
	return nil
}
