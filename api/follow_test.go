package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
)

// moving is a store whose streams end after a few bytes, because the copies that they knew are elsewhere.
type moving struct {
	blobstore.Store

	piece int64 // so many bytes a stream has
	cause error
	opens int
}

func (m *moving) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	m.opens++
	stream, err := m.Store.Open(ctx, b, offset, length)
	if err != nil {
		return nil, err
	}
	if length <= m.piece {
		return stream, nil
	}
	return &leaving{stream, io.LimitReader(stream, m.piece), fmt.Errorf("%w: it was removed", m.cause)}, nil
}

// leaving is a stream that ends too early, with an error.
type leaving struct {
	io.Closer

	some  io.Reader
	cause error
}

func (l *leaving) Read(p []byte) (int, error) {
	n, err := l.some.Read(p)
	if err == io.EOF {
		err = l.cause
	}
	return n, err
}

func (l *leaving) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, l.some)
	if err == nil {
		err = l.cause
	}
	return n, err
}

// A pull that outlives all copies that it knew goes on at those that the newest record has: a push of the same
// blob dooms the old ones while they are read.
func TestPullOutlivesItsCopies(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{blobstore.ErrCopyUnknown, blobstore.ErrUnreachable} {
		w := newWorld(t)
		const text = "a layer of some length"
		get := call{method: http.MethodGet, path: "/v2/a/b/blobs/" + w.push("a/b", text)}
		store := &moving{Store: w.blobs, piece: 5, cause: cause}
		c := api.DefaultConfig()
		c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
		g, err := api.New(c, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(store, nil)})
		if err != nil {
			t.Fatal(err)
		}
		w.Registry = g
		if answer := w.must(http.StatusOK, get); answer.Body.String() != text || store.opens != 5 {
			t.Errorf("%v: %q after %d looks", cause, answer.Body, store.opens)
		}
		get.header = []string{"Range: bytes=2-12"}
		if answer := w.must(http.StatusPartialContent, get); answer.Body.String() != text[2:13] {
			t.Errorf("%v: %q", cause, answer.Body)
		}
	}
}
