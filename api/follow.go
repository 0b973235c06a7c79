package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// maxLooks is how often, without a byte in between, a blob is opened whose copies are not where its record
// says (GC R14).
const maxLooks = 3

// following is a stream of a part of a blob that outlives the copies it began with. While it is read, a push of
// the same blob may doom the copies that the record named, and their files go; the newest record has others.
type following struct {
	blobstore.Reader // of the moment

	registry   *Registry
	ctx        context.Context //nolint:containedctx // that of the request, which the stream is for
	repository string
	blob       stored
	rest       span
	looks      int // since the last byte
}

// openBlob opens a part of a blob. Copies that have moved since the record was read are looked for in the
// newest one (GC R14), also in mid-stream.
func (g *Registry) openBlob(ctx context.Context, repository string, blob stored, part span) (blobstore.Reader, error) {
	f := &following{registry: g, ctx: ctx, repository: repository, blob: blob, rest: part, looks: 1}
	var err error
	f.Reader, err = g.open(ctx, blob, part)
	for errors.Is(err, blobstore.ErrCopyUnknown) {
		if f.looks == maxLooks { // it has a record: this is no 404
			return nil, unavailable(fmt.Errorf("open blob %s: %w", blob.Digest, err))
		}
		if err := f.renew(); err != nil {
			return nil, err
		}
		f.Reader, err = g.open(ctx, f.blob, part)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", blob.Digest, err)
	}
	return f, nil
}

// renew reads the record anew.
func (f *following) renew() error {
	f.looks++
	return f.registry.readNew(f.ctx, func(v fsm.View) (err error) {
		f.blob, err = visible(v, f.repository, f.blob.Digest)
		return err
	})
}

// Read reads on, wherever the bytes are.
func (f *following) Read(p []byte) (int, error) {
	for {
		n, err := f.Reader.Read(p)
		f.passed(int64(n))
		if n > 0 && !errors.Is(err, io.EOF) {
			return n, nil // an error comes again
		}
		if err == nil || !f.elsewhere(err) {
			return n, err
		}
	}
}

// WriteTo writes what is left, wherever it is.
func (f *following) WriteTo(w io.Writer) (written int64, err error) {
	for {
		n, err := f.Reader.WriteTo(w)
		written += n
		f.passed(n)
		if err == nil || !f.elsewhere(err) {
			return written, err
		}
	}
}

func (f *following) passed(n int64) {
	f.rest.offset, f.rest.length = f.rest.offset+n, f.rest.length-n
	if n > 0 {
		f.looks = 0
	}
}

// elsewhere goes on at the copies that the newest record has, and reports whether it could. It does not after
// an error of the bytes: what was sent of them may be bad.
func (f *following) elsewhere(err error) bool {
	for errors.Is(err, blobstore.ErrCopyUnknown) || errors.Is(err, blobstore.ErrUnreachable) {
		if f.rest.length <= 0 || f.looks == maxLooks || f.renew() != nil {
			return false
		}
		var stream blobstore.Reader
		if stream, err = f.registry.open(f.ctx, f.blob, f.rest); err == nil {
			_ = f.Close() // it has ended already
			f.Reader = stream
			return true
		}
	}
	return false
}
