package scrub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
)

const (
	// openCost is what it costs to open a copy, as if that were so many bytes more: a disk does not find
	// small files faster than it reads large ones.
	openCost = 256 << 10
	// saveEvery is how often a pass writes down where it is. What was hashed since is hashed again after a
	// crash.
	saveEvery = time.Minute
	// countEvery is how often a pass counts what is left.
	countEvery = time.Hour
	// noteTime is more than it takes until what was given up is noted. What was noted while a report was made is in the next;
	// after a restart, some of it again.
	noteTime = time.Minute
	// maxBad is how many blobs a pass remembers as bad.
	maxBad = 1000
)

// pass is how far a node is.
type pass struct {
	Before time.Time `json:"before,omitzero"` // when the last report was begun
	Began  time.Time `json:"began,omitzero"`
	Ended  time.Time `json:"ended,omitzero"`
	After  string    `json:"after,omitempty"` // the digest of the last copy that was hashed
	Copies int       `json:"copies"`
	Bytes  int64     `json:"bytes"`
	Bad    int       `json:"bad"`
	Unsure int       `json:"unsure"` // could not be read for another reason
}

// passes goes through the copies of this node again and again.
type passes struct {
	Deps
	note   note[pass]
	ledger note[ledger]

	pass         // that it is in
	begun  bool  // it has read where it was
	bad    Bad   // since the process started
	last   Bad   // of the pass before
	left   int64 // what the rest costs
	counts time.Time
	saved  time.Time
	warned bool // in this pass, of a copy that could not be read
}

// ofThisNode begins what is said of a bad copy.
const ofThisNode = "the copy of this node: "

// Bad is which blobs were found bad, and why.
type Bad map[fsm.Digest]string

// run begins a pass if one is due, or goes on with it. It returns when the pass has ended, or cannot go on
// now.
func (p *passes) run(ctx context.Context) error {
	if err := p.begin(); err != nil || !p.Ended.IsZero() {
		return err
	}
	err := p.walk(ctx)
	if err == nil {
		err = p.end(ctx)
	}
	if saved := p.save(); err == nil {
		err = saved
	}
	return err
}

// begin says which pass it is: that of before a restart, or a new one when the interval of the last is over.
func (p *passes) begin() (err error) {
	now := time.Now().UTC()
	if !p.begun {
		p.pass, err = p.note.load()
		if errors.Is(err, errNoRecord) { // it costs a pass from the beginning, no more
			p.Logger.Warn("scrub begins anew", "store", p.Store, "error", err)
			err = nil
		}
		if err != nil {
			return err
		}
		p.begun, p.bad, p.saved = true, Bad{}, now
		if p.Began.After(now) { // the clock was put back
			p.Began = now
		}
	}
	if p.Began.IsZero() || !p.Ended.IsZero() && now.Sub(p.Began) >= p.Every {
		p.pass = pass{Before: p.Before, Began: now}
		p.last, p.bad, p.warned = p.bad, Bad{}, false
	}
	return nil
}

// walk hashes the copies that are left, one after the other.
func (p *passes) walk(ctx context.Context) error {
	p.counts = time.Time{}
	for {
		if err := p.Blobs.Check(ctx); err != nil {
			return fmt.Errorf("scrub: %w", err)
		}
		if err := p.count(ctx); err != nil {
			return err
		}
		page, err := p.page(p.after())
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			if err := p.turn(ctx, c); err != nil {
				return err
			}
		}
	}
}

// after is the digest behind which the rest lies.
func (p *pass) after() fsm.Digest {
	d, _ := fsm.Pack(digest.Digest(p.After)) // none before the first
	return d
}

// turn hashes a copy when its turn has come.
func (p *passes) turn(ctx context.Context, c own) error {
	if err := p.wait(ctx, c); err != nil {
		return err
	}
	if err := p.look(ctx, c); err != nil {
		return err
	}
	p.After = c.digest.String()
	p.Copies++
	p.Bytes += c.size
	p.left -= c.cost()
	if time.Since(p.saved) >= saveEvery {
		return p.save()
	}
	return nil
}

// look hashes a copy and notes what is wrong with it.
func (p *passes) look(ctx context.Context, c own) error {
	err := p.hash(ctx, c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUncertain):
		p.Unsure++
		if !p.warned { // what is wrong with many is mostly the same
			p.warned = true
			p.Logger.Warn("copy cannot be hashed again and is tried in the next pass", "store", p.Store, "digest", c.digest.String(), "error", err)
		}
		return nil
	case !isBad(err):
		return fmt.Errorf("scrub: %w", err)
	}
	still := false
	lost := p.State.View(func(v fsm.View) error {
		state, _ := v.Copy(p.Store, p.at(c.copy))
		still = state == fsm.CopyRecorded // else the sweeper has taken it meanwhile
		return nil
	})
	if lost != nil || !still {
		return lost
	}
	p.Bad++
	if len(p.bad) < maxBad {
		p.bad[c.digest] = ofThisNode + err.Error()
	}
	p.Suspects.Add([16]byte(c.copy))
	return nil
}

// wait waits for a copy's share of the time that is left, so that a pass takes nine tenths of the interval,
// however often it was interrupted; what is late is not waited for. Then the node's pace has a say.
func (p *passes) wait(ctx context.Context, c own) error {
	if wait := p.share(time.Now(), c); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return p.Pace(ctx, openCost)
}

// share is a copy's part of the time that is left of a pass.
func (p *passes) share(now time.Time, c own) time.Duration {
	deadline := p.Began.Add(p.Every / 10 * 9)
	return time.Duration(float64(deadline.Sub(now)) * float64(c.cost()) / float64(max(p.left, c.cost())))
}

// cost is what it costs to hash a copy, in bytes.
func (c own) cost() int64 { return c.size + openCost }

// count counts what is left, at times: copies come and go.
func (p *passes) count(ctx context.Context) error {
	if time.Since(p.counts) < countEvery {
		return nil
	}
	p.left, p.counts = 0, time.Now()
	for after := p.after(); ; {
		page, err := p.page(after)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := p.Pace(ctx, openCost); err != nil {
			return err
		}
		for _, c := range page {
			p.left += c.cost()
			after = c.digest
		}
	}
}

// end says what a pass has found.
func (p *passes) end(ctx context.Context) error {
	began := time.Now().UTC()
	affected, err := p.report(ctx)
	if err != nil {
		return err
	}
	p.Before, p.Ended = began, time.Now().UTC()
	took := p.Ended.Sub(p.Began)
	p.Logger.Info("scrub ended", "store", p.Store, "copies", p.Copies, "bytes", p.Bytes, "bad", p.Bad, "unsure", p.Unsure,
		"affected_images", affected, "duration_seconds", took.Seconds())
	if took > p.Every {
		p.Logger.Warn("scrub takes longer than its interval: this node is busy, was away, or has too many bytes for extensions.scrub.interval",
			"store", p.Store, "duration_seconds", took.Seconds(), "interval_seconds", p.Every.Seconds())
	}
	return nil
}

// report writes a line for each image. zot's lines have the same words. What readers came upon since the last
// report counts as found by this pass.
func (p *passes) report(ctx context.Context) (affected int, err error) {
	l, err := p.ledger.load()
	if err != nil {
		return 0, err
	}
	for _, g := range l.GivenUp {
		d, err := fsm.Pack(digest.Digest(g.Digest))
		if _, reported := p.last[d]; err == nil && !reported && !g.At.Before(p.Before.Add(-noteTime)) {
			p.bad[d] = ofThisNode + g.Error
		}
	}
	err = Images(ctx, p.State, p.Store, p.bad, p.Pace, func(i Image) error {
		if i.Error == "" {
			p.Logger.Info("scrub: blobs/manifest ok", "image", i.Name, "tag", i.Tag, "status", "ok")
			return nil
		}
		affected++
		p.Logger.Warn("scrub: blobs/manifest affected", "image", i.Name, "tag", i.Tag, "status", "affected", "error", i.Error)
		return nil
	})
	return affected, err
}

func (p *passes) save() error {
	p.saved = time.Now()
	return p.note.save(p.pass)
}
