package move

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	// atOnce is how many blobs are moved at a time: pulls and pushes need the disks and lines too.
	atOnce = 3
	// pageSize is how many links, or repositories, are looked at in one view.
	pageSize = 200
	// glance is how often, between two runs, the job looks whether there is more to be moved.
	glance = time.Second
)

// run brings over what can be, of one repository after the other. What goes wrong with a blob is set aside, and the run
// goes on with the others; it fails in the end for those that are left.
func (m *mover) run(ctx context.Context) error {
	b := &burst{mover: m, began: time.Now()}
	defer b.log()
	m.aside.next()
	left := map[string]string{}
	for last := ""; ; {
		var page []string
		err := m.State.View(func(v fsm.View) error {
			page = v.Moving(last, pageSize)
			return nil
		})
		if err != nil {
			return err
		}
		for _, name := range page {
			if err := m.repository(ctx, name, b); err != nil {
				return err
			}
			if left[name], err = m.rest(name); err != nil {
				return err
			}
			last = name
		}
		if len(page) < pageSize {
			m.left = left
			return b.failed()
		}
	}
}

// repository moves what can be moved of one repository.
func (m *mover) repository(ctx context.Context, name string, b *burst) error {
	var links errgroup.Group
	links.SetLimit(m.AtOnce)
	defer func() { _ = links.Wait() }() // nil: what goes wrong with one blob is the burst's
	for after, more := fsm.Digest(""), true; more; more = after != "" {
		var page []link
		err := m.State.View(func(v fsm.View) error {
			page, after = linksOf(v, name, after)
			return nil
		})
		if err != nil {
			return err
		}
		for _, l := range page {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			links.Go(func() error {
				b.move(ctx, l)
				return nil
			})
		}
	}
	_ = links.Wait()
	return ctx.Err()
}

// linksOf looks at a page of a repository's links behind after, and returns those that are to be moved, and where the page
// ended.
func linksOf(v fsm.View, name string, after fsm.Digest) (all []link, last fsm.Digest) {
	r, _ := v.Repository(name) // one that is gone has no links
	strays, last := v.Strays(name, after, pageSize)
	for _, s := range strays {
		all = append(all, link{name, s.Digest, s.Store, r.Store})
	}
	return all, last
}

// rest is what is left to move of a repository, in words that change when there is more, or less, or it is to go
// elsewhere.
func (m *mover) rest(name string) (text string, err error) {
	err = m.State.View(func(v fsm.View) error {
		text = restOf(v, name)
		return nil
	})
	return text, err
}

func restOf(v fsm.View, name string) string {
	r, _ := v.Repository(name) // one that is gone has nothing left
	return fmt.Sprint(r.Store, r.Elsewhere)
}

// waitForWork returns when there is something to move that the last run has not seen, or when ctx has ended. What that
// could not move is the next run's: so it does not spin, however things are.
func (m *mover) waitForWork(ctx context.Context) {
	again := time.NewTicker(glance)
	defer again.Stop()
	for !m.more() {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

func (m *mover) more() (found bool) {
	_ = m.State.View(func(v fsm.View) error { // an error is the next run's too, which says it
		for _, name := range v.Moving("", pageSize) {
			found = found || m.left[name] != restOf(v, name)
		}
		return nil
	})
	return found
}
