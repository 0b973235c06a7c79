package api

import (
	"context"
	"net/http"

	"github.com/seed-16d79997/zot/blobstore"
)

// Peers are the registries of the other nodes. Its methods may be called concurrently.
type Peers interface {
	// Self is this node.
	Self() blobstore.Incarnation
	// Leader is another node that leads now, as far as this one knows.
	Leader() (blobstore.Incarnation, bool)
	// FindUpload asks all other nodes for an upload, a second at most. Of two that have it the longer wins.
	//   - blobstore.ErrUploadUnknown if none of those that answered has it
	//   - blobstore.ErrUploadEnded if one knows that it has ended, and none has it
	FindUpload(ctx context.Context, id blobstore.UploadID) (owner blobstore.Incarnation, u blobstore.Upload, err error)
	// Forward has the registry of another node answer r, through its Forwarded. If it returns an error, nothing
	// was written to w; an answer that breaks off later breaks this one off.
	Forward(w http.ResponseWriter, r *http.Request, to blobstore.Incarnation) error
}

// Forwarded answers the requests that another node's Peers.Forward sent. It never forwards one again.
func (g *Registry) Forwarded() http.Handler {
	return http.HandlerFunc(g.ServeHTTP)
}
