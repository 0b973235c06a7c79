package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// wholePart is how much of an object is in memory at a time while it is put: one of less is put by one request.
const wholePart = 16 << 20

// Files are what lies below a prefix of a bucket, for whoever keeps something else there than a cluster its copies. Its
// methods may be called concurrently.
type Files struct {
	bucket *bucket
	prefix string
	part   int64
}

// NewFiles asks nothing of the bucket. All names are below root.
func NewFiles(ctx context.Context, b Bucket, root string, t Timing) (*Files, error) {
	if b.Name == "" || b.Region == "" {
		return nil, errors.New("a bucket and a region are needed")
	}
	bucket, err := newBucket(ctx, b, t, hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	prefix := strings.Trim(root, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &Files{bucket, prefix, wholePart}, nil
}

// Close closes idle connections.
func (o *Files) Close() error {
	o.bucket.transport.CloseIdleConnections()
	return nil
}

// File is one that is there.
type File struct {
	Name string
	Size int64 // in bytes; -1 if the bucket does not say
}

// List yields the objects whose names begin with prefix, in the order of their names.
func (o *Files) List(ctx context.Context, prefix string) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for l, err := range o.bucket.listed(ctx, o.prefix+prefix, "") {
			if !yield(File{strings.TrimPrefix(l.key, o.prefix), l.size}, err) || err != nil {
				return
			}
		}
	}
}

// Open opens an object, which the caller closes. What breaks off is asked for again from where it was.
//
// It fails with fs.ErrNotExist if there is none of that name.
func (o *Files) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	key := o.prefix + name
	got, err := o.bucket.get(ctx, key, whole())
	if errors.Is(err, errNoObject) {
		return nil, 0, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, 0, err
	}
	return &objectReader{ctx: ctx, bucket: o.bucket, key: key, body: got.body, size: got.size}, got.size, nil
}

// objectReader reads an object from its beginning to its end.
type objectReader struct {
	ctx    context.Context //nolint:containedctx // that of Open, as with the body of an answer
	bucket *bucket
	key    string
	body   io.ReadCloser // nil after it broke off
	size   int64         // -1 is unknown
	at     int64
	broken int // how often it broke off since the last byte
}

// Read returns the next bytes.
func (r *objectReader) Read(p []byte) (int, error) {
	for {
		if r.size >= 0 && r.at >= r.size {
			return 0, io.EOF
		}
		if err := r.ask(); err != nil {
			return 0, err
		}
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.broken = 0
			return n, nil
		}
		if err == nil || errors.Is(err, io.EOF) && r.size < 0 {
			return 0, err
		}
		if r.broken++; r.size < 0 || r.broken >= r.bucket.timing.Attempts || r.ctx.Err() != nil {
			return 0, fmt.Errorf("get %s: %w: %w", r.key, errBroken, noEOF(err))
		}
		_ = r.body.Close() // nothing more comes of it
		r.body = nil
		if err := sleep(r.ctx, jitter(r.bucket.timing.Backoff)); err != nil {
			return 0, err
		}
	}
}

// ask has an answer to read from.
func (r *objectReader) ask() error {
	if r.body != nil {
		return nil
	}
	got, err := r.bucket.get(r.ctx, r.key, span{r.at, r.size - 1})
	if err != nil {
		return err
	}
	r.body = got.body
	return nil
}

// Close closes it.
func (r *objectReader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}

// Put makes an object of size bytes of r, or leaves what is there: it becomes visible only when r has ended without an
// error, and is looked at then.
//
// It fails with r's error; what was sent is taken back then.
func (o *Files) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	key := o.prefix + name
	if err := o.put(ctx, key, size, r); err != nil {
		return err
	}
	have, _, err := o.bucket.head(ctx, key)
	if err == nil && have >= 0 && have != size {
		err = fmt.Errorf("put %s: it has %d bytes in the bucket, and should have %d", key, have, size)
	}
	return err
}

func (o *Files) put(ctx context.Context, key string, size int64, r io.Reader) error {
	buf := make([]byte, min(size, o.part))
	if _, err := io.ReadFull(r, buf); err != nil {
		return noEOF(err)
	}
	if int64(len(buf)) == size {
		if err := endsHere(r); err != nil {
			return err
		}
		return o.bucket.put(ctx, key, bytes.NewReader(buf), size, false)
	}
	upload, err := o.bucket.begin(ctx, key)
	if err != nil {
		return err
	}
	if err := o.putParts(ctx, key, upload, size, buf, r); err != nil {
		return errors.Join(err, o.bucket.abort(context.WithoutCancel(ctx), key, upload)) // also if ctx is over
	}
	return nil
}

// putParts sends buf and what follows it, and makes an object of it.
func (o *Files) putParts(ctx context.Context, key, upload string, size int64, buf []byte, r io.Reader) error {
	var etags []string
	for left := size; ; {
		etag, err := o.bucket.part(ctx, key, upload, int32(len(etags)+1), bytes.NewReader(buf), int64(len(buf))) //nolint:gosec // 10,000 at most
		if err != nil {
			return err
		}
		etags = append(etags, etag)
		if left -= int64(len(buf)); left == 0 {
			break
		}
		n := min(left, partSize(o.part, len(etags)))
		if n > int64(cap(buf)) {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return noEOF(err)
		}
	}
	if err := endsHere(r); err != nil {
		return err
	}
	return o.bucket.complete(ctx, key, upload, etags, false)
}

// endsHere fails unless a stream ends here, and well.
func endsHere(r io.Reader) error {
	switch n, err := r.Read(make([]byte, 1)); {
	case n > 0 || err == nil:
		return errors.New("more bytes came than were announced")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}
