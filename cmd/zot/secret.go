package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// secretPoll is how often a changed file of secrets is looked for. Mounted ones change without a signal.
const secretPoll = 5 * time.Second

// secret is where the lines that the nodes share come from.
type secret struct {
	given string // cluster.secretFile; "" if there is none
	own   string // made at the first start of a node that was given none
	log   hclog.Logger
}

// openSecret makes a secret of its own for a node that is given none.
func openSecret(c config.Cluster, dir string, log hclog.Logger) (*secret, error) {
	s := &secret{given: c.SecretFile, own: filepath.Join(dir, "secret"), log: log}
	if s.given != "" {
		return s, nil
	}
	if _, err := os.Stat(s.own); !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	return s, s.make(fsm.SystemFiles())
}

func (s *secret) make(files fsm.Files) error {
	var line [32]byte
	if _, err := rand.Read(line[:]); err != nil {
		return err
	}
	if err := replaceFile(files, s.own, hex.EncodeToString(line[:])+"\n"); err != nil {
		return fmt.Errorf("make a secret: %w", err)
	}
	return nil
}

// replaceFile writes a file that only its owner may read, under another name first: half a line would be another
// secret.
func replaceFile(files fsm.Files, name, content string) error {
	draft := name + ".new"
	w, err := files.Create(draft)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(content))
	if err = errors.Join(err, w.Close()); err == nil {
		err = files.Sync(draft)
	}
	if err == nil { // what was not synced must not take its place
		err = files.Rename(draft, name)
	}
	if err == nil {
		err = files.SyncDir(filepath.Dir(name))
	}
	return err
}

// lines are those to sign and verify with. A secret of the node's own stays good for verifying beside a
// given one, until somebody removes it.
func (s *secret) lines() ([][]byte, error) {
	if s.given == "" {
		return config.ReadSecret(s.own)
	}
	lines, err := config.ReadSecret(s.given)
	if err != nil {
		return nil, err
	}
	own, err := config.ReadSecret(s.own)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return append(lines, own...), nil
}

// watch hands lines that are not the known ones to rotate, until ctx ends; at once when asked through
// reload. What cannot be used leaves the old lines as they are.
func (s *secret) watch(ctx context.Context, known [][]byte, reload <-chan struct{}, rotate func([][]byte) error) error {
	poll := time.NewTicker(secretPoll)
	defer poll.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
			said = "" // whoever asks wants to hear
		case <-poll.C:
		}
		next, err := s.lines()
		if err == nil && !sameLines(known, next) {
			if err = rotate(next); err == nil {
				known = next
				s.log.Info("secret changed", "lines", len(next))
			}
		}
		if err == nil {
			said = ""
		} else if said != err.Error() {
			said = err.Error()
			s.log.Error("secret is unusable, the old one stays", "error", err)
		}
	}
}

func sameLines(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, []byte("\n")), bytes.Join(b, []byte("\n")))
}
