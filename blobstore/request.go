package blobstore

import (
	"context"
	"runtime/pprof"

	"github.com/hashicorp/go-hclog"
)

// requestLabel is the label of a context that has the id of the client's request for which something is done, as whoever
// answers that has set it.
const requestLabel = "request_id"

// WithRequestID is a context of what is done for a request of a client.
func WithRequestID(ctx context.Context, id string) context.Context {
	return pprof.WithLabels(ctx, pprof.Labels(requestLabel, id))
}

// RequestID is the id of the request for which something is done, or "" if it is for none.
func RequestID(ctx context.Context) string {
	id, _ := pprof.Label(ctx, requestLabel)
	return id
}

// LogFor is a logger whose lines say for which request of a client something is done, if it is for one.
func LogFor(ctx context.Context, log hclog.Logger) hclog.Logger {
	if id := RequestID(ctx); id != "" {
		return log.With(requestLabel, id)
	}
	return log
}
