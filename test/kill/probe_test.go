package kill_test

import (
	"context"
	"net/http"
	"time"
)

const (
	probeRepository = "kill/probe"
	probeTag        = "latest"
	probeImages     = 64
	probePause      = 30 * time.Millisecond
)

// writes moves a tag again and again, so that it shows how long the cluster takes no writes. Each move is of
// the history as any other.
func (w *worker) writes(ctx context.Context, images []*image) {
	w.figures.worked("a write", true)
	for i := 0; ctx.Err() == nil && !w.isOver(); i++ {
		if !w.putManifest(ctx, probeRepository, images[i%len(images)], probeTag) {
			return
		}
		w.figures.worked("a write", false)
		wait(ctx, probePause)
	}
}

// reads reads the same tag again and again.
func (w *worker) reads(ctx context.Context) {
	w.figures.worked("a read", true)
	for ctx.Err() == nil && !w.isOver() {
		if _, ok := w.readManifest(ctx, http.MethodGet, key{probeRepository, probeTag}, read); ok {
			w.figures.worked("a read", false)
		}
		wait(ctx, probePause)
	}
}

// probed pushes what the probes need: one blob, which all their images share, and the first of them.
func (w *worker) probed(ctx context.Context) ([]*image, bool) {
	config := w.gallery.newBlob(500)
	if !w.pushBlob(ctx, probeRepository, config, true) {
		return nil, false
	}
	var images []*image
	for range probeImages {
		images = append(images, w.gallery.add([]*content{config}))
	}
	return images, w.putManifest(ctx, probeRepository, images[0], probeTag)
}
