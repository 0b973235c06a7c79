package kill_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	probeRepository = "kill/probe"
	probeTags       = 8
	probeImages     = 64
	probeEvery      = 100 * time.Millisecond
)

// probe begins a write and a read every so often, whatever became of those before: so it shows how long the
// cluster takes none. Each is of the history as any other. It returns when all have ended after the load.
func (b *bout) probe(ctx context.Context, images []*image) {
	var probing sync.WaitGroup
	defer probing.Wait()
	b.figures.worked("a write", true)
	b.figures.worked("a read", true)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for i := 0; !b.isOver(); i++ {
		w := b.worker(1000 + i)
		w.hasty = true // what shows is how long the cluster takes, not how long a client waits
		tag := probeTag(i)
		probing.Go(func() {
			if w.putManifest(ctx, probeRepository, images[i%len(images)], tag) {
				b.figures.worked("a write", false)
			}
		})
		probing.Go(func() {
			if _, ok := w.readManifest(ctx, http.MethodGet, key{probeRepository, tag}); ok {
				b.figures.worked("a read", false)
			}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func probeTag(i int) string { return fmt.Sprintf("p%d", i%probeTags) }

// setUp pushes what the probe needs: one blob, which all its images share, and the first of these. None of them is
// deleted.
func (w *worker) setUp(ctx context.Context) ([]*image, bool) {
	config := w.gallery.newBlob(500, digest.SHA256)
	if !w.pushBlob(ctx, probeRepository, config, true) {
		return nil, false
	}
	var images []*image
	for range probeImages {
		images = append(images, w.gallery.add(&image{blobs: []*content{config}}, "", true))
	}
	w.used = config // from now on
	return images, w.putManifest(ctx, probeRepository, images[0], probeTag(0))
}
