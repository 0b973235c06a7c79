package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

const (
	// configurationPoll is how often a changed configuration is looked for: a look finds it however the file was replaced.
	configurationPoll = 5 * time.Second
	// configurationRest is how long new content has to stay as it is. Whoever writes in place is done by then: the first
	// half of a file can be valid, and say nothing of who may do what.
	configurationRest = time.Second
)

// draft is what was made ready of a configuration. Either of both is called, once.
type draft struct {
	take    func() // has the node go by it; it cannot fail
	discard func() // gives back what it holds
}

// swap is a draft of what holds nothing.
func swap(take func()) draft { return draft{take, func() {}} }

// follower is a part of the node that goes by a part of the configuration.
type follower struct {
	// of is what it goes by: it is not asked to prepare while that stays the same.
	of func(c config.Config) any
	// prepare makes ready what a configuration says. If it fails nothing has changed.
	prepare func(c config.Config) (draft, error)
}

// Parts of a configuration, for a follower.
func everything(c config.Config) any { return c }
func tlsToGoBy(c config.Config) any  { return c.HTTP.TLS }
func gateToGoBy(c config.Config) any { return []any{c.HTTP, c.Cluster.TrustedProxies} }

// clientsToGoBy is what the answers to clients are made of.
func clientsToGoBy(c config.Config) any {
	return []any{c.HTTP, c.Extensions, c.Cluster.TrustedProxies}
}
func levelToGoBy(c config.Config) any { return c.Log.Level }

// configFile is where the configuration of a node comes from.
type configFile struct {
	path   string                 // "": nothing changes
	adjust func(c *config.Config) // as that of surroundings
}

// parse is the configuration in what was read from the file. It fails as config.ParseWithFiles.
func (f configFile) parse(content []byte) (config.Config, []config.Note, error) {
	c, notes, err := config.ParseWithFiles(f.path, content)
	if err == nil && f.adjust != nil {
		f.adjust(&c)
	}
	return c, notes, err
}

// configuration has a node go by what its file says now, as far as it can without a restart. It takes in all of that or,
// if anything is wrong with the file, nothing.
type configuration struct {
	file      configFile
	followers []follower // in the order in which they take it in
	asked     chan struct{}
	log       hclog.Logger

	// What follows, watch alone looks at.
	now   config.Config     // what the node goes by
	taken [sha256.Size]byte // of the content that says so
	seen  [sha256.Size]byte // of the content at the last look
	said  string            // what was wrong with which content
	notes []config.Note     // of what was taken
}

// newConfiguration is for a node that was started with what the file held.
func newConfiguration(s setting, followers ...follower) *configuration {
	sum := sha256.Sum256(s.content)
	return &configuration{file: s.file, followers: followers, asked: make(chan struct{}, 1), log: s.log, now: s.config, taken: sum, seen: sum, notes: s.notes}
}

// reload has the file looked at now.
func (c *configuration) reload() { wake(c.asked) }

// watch takes in what the file comes to say, until ctx ends.
func (c *configuration) watch(ctx context.Context) error {
	if c.file.path == "" {
		<-ctx.Done()
		return nil
	}
	next := time.NewTimer(configurationPoll)
	defer next.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-c.asked:
			asked = true
		case <-next.C:
		}
		if c.look(asked) {
			next.Reset(configurationPoll)
		} else {
			next.Reset(configurationRest)
		}
	}
}

// look takes in what the file holds, if that is something else than before, and reports whether the next look can wait.
// Content that was not there at the look before may be half of what is to come, unless somebody asks for it. What
// is wrong is said once, and again to who asks.
func (c *configuration) look(asked bool) (done bool) {
	if asked {
		c.said = ""
	}
	content, err := config.Read(c.file.path)
	if err != nil {
		c.refuse("", err)
		return true
	}
	sum := sha256.Sum256(content)
	stays := sum == c.seen
	c.seen = sum
	switch {
	case sum == c.taken:
		if c.said != "" {
			c.said = ""
			c.log.Info("configuration is again what the node goes by")
		}
		return true
	case !stays && !asked:
		return false
	}
	next, notes, err := c.file.parse(content)
	if err == nil {
		err = c.take(next)
	}
	if err != nil { // a file that it names may be mended by the next look
		c.refuse(string(sum[:]), err)
		return true
	}
	c.taken, c.said = sum, ""
	for _, n := range notes {
		if !slices.Contains(c.notes, n) {
			c.log.Warn("configuration", "key", n.Key, "note", n.Text)
		}
	}
	c.notes = notes
	return true
}

// refuse says why the content with a sum is not taken in.
func (c *configuration) refuse(sum string, err error) {
	if said := sum + err.Error(); said != c.said {
		c.said = said
	} else {
		return
	}
	const message = "configuration is unusable, what was read before holds"
	problems, is := errors.AsType[config.Problems](err)
	if !is {
		c.log.Error(message, "error", err)
		return
	}
	for _, p := range problems {
		c.log.Error(message, "key", p.Key, "error", p.String())
	}
}

// take has the node go by a configuration. If it fails, it goes on by what it has.
func (c *configuration) take(next config.Config) error {
	changes, next := config.Changes(c.now, next)
	var drafts []draft
	for _, f := range c.followers {
		if reflect.DeepEqual(f.of(c.now), f.of(next)) {
			continue
		}
		d, err := f.prepare(next)
		if err != nil {
			for _, d := range slices.Backward(drafts) {
				d.discard()
			}
			return fmt.Errorf("take in the configuration: %w", err)
		}
		drafts = append(drafts, d)
	}
	for _, d := range drafts {
		d.take()
	}
	c.now = next
	c.report(changes)
	return nil
}

// report says what has changed, and what has not.
func (c *configuration) report(changes []config.Change) {
	var taken []string
	for _, change := range changes {
		if !change.Restart {
			taken = append(taken, change.Key)
		}
	}
	if len(taken) > 0 {
		c.log.Info("configuration changed", "keys", strings.Join(taken, ", "))
	}
	for _, change := range changes {
		if change.Restart {
			c.log.Warn("configuration changed, but this key holds only after a restart", "key", change.Key)
		}
	}
}
