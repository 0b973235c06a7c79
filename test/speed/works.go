package main

import (
	"context"
	"fmt"
	"sync"
)

// work is one kind of request.
type work struct {
	name  string
	bytes int64 // what one moves, where that is what counts; 0: requests are counted
	most  int   // so many are sent in a round at most
	// prepare pushes to a registry what the requests are about.
	prepare job
	// job makes a request ready. With another number it pushes something else.
	job func(number uint64) job
}

// job sends one request, or those that make one push.
type job func(ctx context.Context, c *client) error

// The sizes of blobs.
const (
	small  = 4 << 10
	middle = 1 << 20
	layer  = 64 << 20
	large  = 1 << 30
)

// plenty is more than any registry answers in a round.
const plenty = 50_000

// works returns all kinds of requests that are measured.
func works() []work {
	return []work{
		ofImage("HEAD manifest by tag", plenty, func(i example, _ uint64) job {
			return func(ctx context.Context, c *client) error {
				return c.head(ctx, manifestPath(tag(0)), int64(len(i.manifest(0))))
			}
		}),
		ofImage("GET manifest by tag", plenty, func(i example, _ uint64) job {
			return func(ctx context.Context, c *client) error {
				return c.get(ctx, manifestPath(tag(0)), int64(len(i.manifest(0))))
			}
		}),
		ofImage("PUT manifest, new tag", plenty/10, func(i example, number uint64) job {
			body := i.manifest(number)
			return func(ctx context.Context, c *client) error { return c.putManifest(ctx, tag(number), body) }
		}),
		getBlob("GET 1 MiB blob", middle, plenty),
		getBlob("GET 1 GiB blob", large, 8),
		pushBlob("push 4 KiB, POST PATCH PUT", small, plenty/10, (*client).pushChunked),
		pushBlob("push 4 KiB, POST PUT", small, plenty/10, (*client).pushWhole),
		pushBlob("push 64 MiB, POST PATCH PUT", layer, 16, (*client).pushChunked),
		pushBlob("push 64 MiB, POST PUT", layer, 16, (*client).pushWhole),
	}
}

// ofImage is about the manifests of an image.
func ofImage(name string, most int, jobs func(i example, number uint64) job) work {
	i := newExample()
	return work{
		name: name, most: most, prepare: i.push,
		job: func(number uint64) job { return jobs(i, number) },
	}
}

// getBlob reads one blob again and again.
func getBlob(name string, size int64, most int) work {
	content := sync.OnceValue(func() blob { return newBlob(noise(size), 0) }) // a large one is not made in vain
	return work{
		name: name, bytes: size, most: most,
		prepare: func(ctx context.Context, c *client) error { return c.pushWhole(ctx, content()) },
		job: func(uint64) job {
			path := "/v2/" + repository + "/blobs/" + content().digest.String()
			return func(ctx context.Context, c *client) error { return c.get(ctx, path, size) }
		},
	}
}

// pushBlob pushes a new blob each time. Small ones are counted.
func pushBlob(name string, size int64, most int, push func(*client, context.Context, blob) error) work {
	base := sync.OnceValue(func() []byte { return noise(size) })
	w := work{
		name: name, most: most,
		prepare: func(ctx context.Context, c *client) error { return push(c, ctx, newBlob(base(), 0)) },
		job: func(number uint64) job {
			b := newBlob(base(), number)
			return func(ctx context.Context, c *client) error { return push(c, ctx, b) }
		},
	}
	if size >= middle {
		w.bytes = size
	}
	return w
}

func tag(number uint64) string { return fmt.Sprint("v", number) }

func manifestPath(reference string) string { return "/v2/" + repository + "/manifests/" + reference }
