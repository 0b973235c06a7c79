package move

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	// linkCost is what it costs to move a link, as if that were so many bytes: each is an entry of the log.
	linkCost = 64 << 10
	// tidying bounds how long an upload may take to be removed that is of no use any more.
	tidying = 10 * time.Second
)

// link is a link that is to be moved, from one store to another.
type link struct {
	repository string
	digest     fsm.Digest
	from, to   string
}

// plan is how one is moved.
type plan struct {
	command fsm.MoveLink // without copies
	blob    blobstore.Blob
	there   bool // no bytes are needed: the store has as many good copies as it wants, or nobody the link any more
	over    bool // it is not to be moved any more, or elsewhere
}

// plan is as things are now.
func (m *mover) plan(l link) (p plan, err error) {
	err = m.State.View(func(v fsm.View) error {
		p = planOf(v, l)
		return nil
	})
	return p, err
}

func planOf(v fsm.View, l link) plan {
	have, moves := v.Stray(l.repository, l.digest)
	r, gone := v.Repository(l.repository)
	if gone != nil || !moves || have.Store != l.from || r.Store != l.to {
		return plan{over: true}
	}
	p := plan{
		command: fsm.MoveLink{Repository: l.repository, Digest: l.digest, From: l.from, To: l.to},
		blob:    blobstore.Blob{Digest: l.digest.Unpack(), Size: have.Size},
	}
	from, _ := v.Blob(l.from, l.digest)
	for _, c := range from.Copies {
		if c.Held {
			p.blob.Locations = append(p.blob.Locations, blobstore.Location{
				Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy),
			})
		}
	}
	to, known := v.Blob(l.to, l.digest)
	p.there = have.Expired || known && !to.Damaged && to.Counting >= v.Need(l.to)
	return p
}

// move moves one link, and returns how many bytes it brought. It fails for what is still to be moved.
func (m *mover) move(ctx context.Context, l link) (bytes int64, err error) {
	p, err := m.plan(l)
	if err != nil || p.over {
		return 0, err
	}
	if err = m.Pace(ctx, linkCost); err != nil {
		return 0, err
	}
	if p.there {
		err = m.propose(ctx, p.command)
	} else if err = m.bring(ctx, &p); err == nil {
		bytes = p.blob.Size
	}
	if err == nil || ctx.Err() != nil {
		return bytes, err
	}
	// If it was deleted or pushed meanwhile, or is to go elsewhere, then all is well.
	if now, failed := m.plan(l); failed == nil && now.over {
		return 0, nil
	}
	return 0, err
}

// bring makes copies of a blob in the store that it is to go to, and moves the link to them.
func (m *mover) bring(ctx context.Context, p *plan) error {
	from, to := m.Stores.Store(p.command.From), m.Stores.Store(p.command.To)
	if from == nil || to == nil {
		return fmt.Errorf("this node's configuration must have the stores %s and %s", p.command.From, p.command.To)
	}
	if u, err := to.Usage(ctx); err != nil {
		return fmt.Errorf("store %s: %w", p.command.To, err)
	} else if u.Full() {
		return fmt.Errorf("store %s: %w: its disk is used to %d %%", p.command.To, blobstore.ErrNoSpace, u.Percent())
	}
	var id blobstore.UploadID
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	defer m.remove(ctx, to, id)
	if err := m.fill(ctx, from, to, id, p.blob); err != nil {
		return err
	}
	if err := m.Consistency.ReadIndex(ctx); err != nil {
		return fmt.Errorf("stamp copies: %w", err)
	}
	p.command.Size = p.blob.Size
	err := m.State.View(func(v fsm.View) error {
		p.command.Stamp = v.Time()
		return nil
	})
	if err != nil {
		return err
	}
	made, err := to.Publish(ctx, id)
	if err != nil {
		return fmt.Errorf("make copies in store %s: %w", p.command.To, err)
	}
	for _, l := range made {
		p.command.Locations = append(p.command.Locations, fsm.Location{Incarnation: [16]byte(l.Incarnation), Copy: fsm.CopyID(l.Copy)})
	}
	return m.propose(ctx, p.command)
}

// fill makes an upload of a blob, and verifies it.
func (m *mover) fill(ctx context.Context, from, to blobstore.Store, id blobstore.UploadID, b blobstore.Blob) error {
	var now blobstore.Time
	err := m.State.View(func(v fsm.View) error {
		now = blobstore.Time(v.Time())
		return nil
	})
	if err != nil {
		return err
	}
	r, err := from.Open(ctx, b, 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it was only read
	if err := to.CreateUpload(ctx, id, b.Digest.Algorithm(), now); err != nil {
		return err
	}
	if _, err := to.Append(ctx, id, 0, paced{ctx, r, m.Pace}, now); err != nil {
		return err
	}
	_, err = to.Finish(ctx, id, b.Digest)
	return err
}

// paced is a stream that is read at a pace.
type paced struct {
	ctx  context.Context //nolint:containedctx // of the one call that reads it
	from io.Reader
	pace blobstore.Pace
}

// Read waits for what it has read.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	if waited := p.pace(p.ctx, n); waited != nil && (err == nil || errors.Is(err, io.EOF)) {
		err = waited
	}
	return n, err
}

// propose moves the link. It is proposed once: whether or not it came to be moved, the next run sees it in the state,
// and other copies have other ids (GC R6).
func (m *mover) propose(ctx context.Context, cmd fsm.MoveLink) error {
	_, err := fsm.Do(ctx, m.Proposer, cmd)
	return err
}

// remove leaves nothing of an upload, even if the leadership has ended: nobody will come back to it.
func (m *mover) remove(ctx context.Context, to blobstore.Store, id blobstore.UploadID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	if err := to.RemoveUpload(ctx, id); err != nil {
		m.Logger.Warn("upload is left behind", "upload", id.String(), "error", err)
	}
}
