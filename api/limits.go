package api

import (
	"net/http"

	"golang.org/x/sync/semaphore"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// limits bound what all requests together may hold. Nobody waits in them: a client that is told to come again
// asks another node, or later, and one that waited would hold its connection meanwhile.
type limits struct {
	bodies    *semaphore.Weighted // requests that send bytes of an upload
	manifests *semaphore.Weighted // bytes
}

// maxManifestWeight is what a manifest takes of the memory at most: the byte behind the largest shows that it is
// too large.
const maxManifestWeight = oci.MaxManifest + 1

func newLimits(c Config) limits {
	return limits{semaphore.NewWeighted(c.MaxBodies), semaphore.NewWeighted(c.ManifestMemory)}
}

// enter takes part of a limit, before anything is read. The caller leaves by calling what it gets.
//
// It fails with errBusy.
func enter(limit *semaphore.Weighted, weight int64) (leave func(), err error) {
	if !limit.TryAcquire(weight) {
		return nil, errBusy
	}
	return func() { limit.Release(weight) }, nil
}

// sends reports whether a request has a body, or may have one.
func sends(r *http.Request) bool { return r.ContentLength != 0 }

// weightOf is how much of a manifest's body is read at most.
func weightOf(r *http.Request) int64 {
	if r.ContentLength < 0 {
		return maxManifestWeight
	}
	return min(r.ContentLength, maxManifestWeight)
}
