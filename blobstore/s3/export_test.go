package s3

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// PartSize is how large a part is.
func PartSize(asked int64, number int) int64 { return partSize(firstSize(asked), number) }

// SetPartSize makes parts smaller than a store would take them, if it looked.
func (s *Store) SetPartSize(n int64) { s.config.PartSize = n }

// Limits of an upload.
const (
	MaxParts    = maxParts
	MaxPartSize = maxPartSize
)

// Put puts an object beside the store's own, or in the place of one.
func (s *Store) Put(ctx context.Context, name string, p []byte) error {
	return s.bucket.put(ctx, s.keys.prefix+name, bytes.NewReader(p), int64(len(p)), false)
}

// Get returns an object.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	o, err := s.bucket.get(ctx, s.keys.prefix+name, whole())
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.body.Close() }()
	return io.ReadAll(o.body)
}

// Remove removes an object.
func (s *Store) Remove(ctx context.Context, name string) error {
	return s.bucket.remove(ctx, s.keys.prefix+name)
}

// Names lists all that is below the prefix.
func (s *Store) Names(ctx context.Context) (names []string, err error) {
	for key, err := range s.bucket.list(ctx, s.keys.prefix, "") {
		if err != nil {
			return nil, err
		}
		names = append(names, key[len(s.keys.prefix):])
	}
	return names, nil
}

// Multiparts counts the multipart uploads below the prefix.
func (s *Store) Multiparts(ctx context.Context) (n int, err error) {
	for _, err := range s.bucket.multiparts(ctx, s.keys.prefix) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Begin begins a multipart upload that no upload of the store knows, and sends parts of it.
func (s *Store) Begin(ctx context.Context, parts int) (send func(number int) error, err error) {
	key := s.keys.copy(blobstore.NewCopyID())
	upload, err := s.bucket.begin(ctx, key)
	if err != nil {
		return nil, err
	}
	send = func(number int) error {
		_, err := s.bucket.part(ctx, key, upload, int32(number), bytes.NewReader([]byte("part")), 4)
		return err
	}
	for number := range parts {
		if err := send(number + 1); err != nil {
			return nil, err
		}
	}
	return send, nil
}

// SetOnlyNew has the store believe that the bucket has conditional writes.
func (s *Store) SetOnlyNew(on bool) { s.onlyNew = on }

// RetryDelay is how long a request waits before it is made again.
func RetryDelay(t Timing, attempt int, err error) (time.Duration, error) {
	return newRetryer(t).RetryDelay(attempt, err)
}

// SetPart makes parts smaller than a store would take them, if it looked.
func (o *Files) SetPart(n int64) { o.part = n }
