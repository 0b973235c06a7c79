package api

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// judgedEvery is after how many bytes of a body of unknown length it is asked again whether the blob still fits.
const judgedEvery = 64 << 20

// judgment says of a state what speaks against a push.
type judgment func(v fsm.View) error

// takes fails if what is about to be pushed could only be refused in the end: then better before its bytes are sent
// and stored. The log judges again, for racing pushes. What this node knows may be old, and nobody is refused by that:
// a refusal costs a round, and nothing else does.
//
// It fails with fsm.ErrReadOnly, fsm.ErrQuotaExceeded, fsm.ErrTooManyRepositories or errUnavailable.
func (g *Registry) takes(ctx context.Context, judge judgment) error {
	err := g.state.View(judge)
	if _, refused := errors.AsType[*fsm.Refusal](err); refused {
		return g.readNew(ctx, judge)
	}
	return err
}

// grows judges so many bytes of a blob that nobody has named yet. It may be one that is damaged, which always fits,
// since a push heals it: so while any is, quotas are left to the log.
func grows(repository string, bytes int64) judgment {
	return func(v fsm.View) error {
		if err := v.Writable(); err != nil {
			return err
		}
		err := v.Fits(repository, bytes)
		if errors.Is(err, fsm.ErrQuotaExceeded) && anyDamaged(v) {
			return nil
		}
		return err
	}
}

// anyDamaged reports whether a push could heal something.
func anyDamaged(v fsm.View) bool {
	for _, s := range v.Stores() {
		if len(v.Damaged(s.Name, "", 1)) > 0 {
			return true
		}
	}
	return false
}

// growsBy judges a blob of at least so many bytes.
func growsBy(repository string, d fsm.Digest, bytes int64) judgment {
	return func(v fsm.View) error {
		if err := v.Writable(); err != nil {
			return err
		}
		return v.FitsBlob(repository, d, bytes)
	}
}

// takesWhole is takes for the request that ends an upload at an offset, with its body still to come.
func (g *Registry) takesWhole(r *http.Request, repository string, d digest.Digest, state blobstore.Upload, begin int64) error {
	packed, err := fsm.Pack(d)
	if err != nil {
		return err
	}
	return g.takes(r.Context(), growsBy(repository, packed, max(state.Offset, begin+max(0, r.ContentLength))))
}

// bounded is the body of a request that does not say how long it is, and which fits as far as it has come. When it
// does not any more the rest is read and thrown away: most clients send all before they read why it was refused, and
// of what a quota keeps out nothing more should come to the disk.
type bounded struct {
	io.Reader

	g          *Registry
	ctx        context.Context //nolint:containedctx // of the one request whose body this is
	repository string
	total      int64 // bytes of the upload so far
	next       int64 // when it is judged again
}

// bound is body, bounded if its length is unknown. It begins at an offset of its upload.
func (g *Registry) bound(body io.Reader, r *http.Request, repository string, offset int64) io.Reader {
	if r.ContentLength >= 0 {
		return body
	}
	return &bounded{Reader: body, g: g, ctx: r.Context(), repository: repository, total: offset, next: offset + judgedEvery}
}

// Read fails with what takes does.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.total += int64(n)
	if b.total < b.next {
		return n, err
	}
	b.next = b.total + judgedEvery
	if refused := b.g.takes(b.ctx, grows(b.repository, b.total)); refused != nil {
		_, _ = io.Copy(io.Discard, b.Reader) // the client may go: it is refused in any case
		return 0, refused
	}
	return n, err
}

// giveUp ends an upload that was refused for what no later request mends: its client has no more use for it, and the
// disk has.
func (g *Registry) giveUp(ctx context.Context, u upload, why error) {
	if errors.Is(why, fsm.ErrQuotaExceeded) {
		g.endUpload(ctx, u)
	}
}
