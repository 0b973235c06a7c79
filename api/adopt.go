package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// adoption is how long it may take to copy a blob of another cluster and to read the copy. What takes longer would not
// be recorded any more, for its stamp is too old then.
const adoption = 10 * time.Minute

// adopt makes a blob visible that no repository here has, and another cluster does. It is not done, and the client is to
// upload, if nobody is known to have it, or what he has is not it.
//
// It comes after a mount alone: that is a request to be spared an upload. A HEAD asks what is there; and with a digest
// of a whole blob the bytes are on their way already.
func (g *Registry) adopt(w *answer, r *http.Request, q request, s Store, d digest.Digest) (done bool, err error) {
	if s.Hints == nil {
		return false, nil
	}
	leave, err := enter(g.limits.bodies, 1) // it is as much work as an upload
	if err != nil {
		return false, err
	}
	defer leave()
	done, err = alive(w, r, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, adoption)
		defer cancel()
		return g.takeOver(ctx, q.repository, s, d)
	})
	if !done || err != nil {
		return false, err
	}
	return true, created(w, blobPath(q.repository, d), d)
}

// takeOver makes copies of another cluster's blob and records them. As with an upload the stamp is older than the copies
// (GC R10), and a set of copies is proposed under one request id (GC R6): who asks again gets others.
func (g *Registry) takeOver(ctx context.Context, repository string, s Store, d digest.Digest) (done bool, err error) {
	cmd := fsm.BlobStored{Repository: repository, Store: s.Name}
	if cmd.Digest, err = fsm.Pack(d); err != nil {
		return false, err
	}
	has := false
	err = g.readNew(ctx, func(v fsm.View) error {
		link, err := v.Link(repository, cmd.Digest)
		has = err == nil && !link.Damaged
		cmd.Stamp = v.Time()
		return nil
	})
	if err != nil || has { // it needs no other copy; that it was to be mounted from elsewhere is the client's mistake
		return false, err
	}
	b, err := s.Hints.Adopt(ctx, d)
	if err != nil {
		if !errors.Is(err, blobstore.ErrCopyUnknown) {
			blobstore.LogFor(ctx, g.log).Warn("a blob of another cluster is not taken over", "digest", d.String(), "error", err)
		}
		return false, nil
	}
	cmd.Size, cmd.Locations = b.Size, recordedAs(b.Locations)
	_, err = do(ctx, g.proposer.Once(), cmd)
	if _, refused := errors.AsType[*fsm.Refusal](err); refused {
		blobstore.LogFor(ctx, g.log).Debug("copies of another cluster's blob are not recorded", "digest", d.String(), "error", err)
		return false, nil // the sweeper finds them
	}
	if err != nil {
		return false, err
	}
	g.tell(d, cmd)
	return true, nil
}

// tell lets other clusters know of a blob that was recorded, if everybody may read it: whoever knows its digest then gets
// it there, and a digest is no secret.
func (g *Registry) tell(d digest.Digest, cmd fsm.BlobStored) {
	s, known := g.stores.Store(cmd.Store)
	if !known || s.Hints == nil || !g.gate().Everybody(access.Read, cmd.Repository) {
		return
	}
	b := blobstore.Blob{Digest: d, Size: cmd.Size}
	for _, l := range cmd.Locations {
		b.Locations = append(b.Locations, blobstore.Location{Incarnation: blobstore.Incarnation(l.Incarnation), Copy: blobstore.CopyID(l.Copy)})
	}
	s.Hints.Stored(b)
}
