// Package record writes a line for each request of a client into the log, and one for each that has changed something into
// the audit.
//
// It knows nothing of what is asked for. Who answers a request fills its Record, which is in the context: who has asked
// is known there alone. No line has a secret in it (mask.go). Start reading at Writer.
package record

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
)

// HeaderID is the header of requests and of answers that has a request's id.
const HeaderID = "X-Request-Id"

// Record is what is known of a request. It is filled by the goroutine that answers it.
type Record struct {
	ID     string
	Client string // address and port of who sends it; of one behind a trusted proxy the address alone
	name   string
}

// By says who sends the request, when that has been proved: what is only claimed may be a password in the wrong field.
func (r *Record) By(name string) { r.name = name }

type key struct{}

// with is a context that has a record. The id is a label, too: stores and methods of logging in know nothing of requests.
func with(ctx context.Context, r *Record) context.Context {
	return context.WithValue(blobstore.WithRequestID(ctx, r.ID), key{}, r)
}

// Of returns the record of a request. Where nobody records it is a new one.
func Of(r *http.Request) *Record {
	if known, ok := r.Context().Value(key{}).(*Record); ok {
		return known
	}
	return &Record{ID: idOf(r), Client: r.RemoteAddr}
}

// The bounds of an id that a client has made up.
const (
	minID = 8
	maxID = 64
)

// idOf is the id that came with a request, if it is one, or a new one.
func idOf(r *http.Request) string {
	given := r.Header.Get(HeaderID)
	strange := func(c rune) bool {
		return !strings.ContainsRune("._-", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if len(given) >= minID && len(given) <= maxID && !strings.ContainsFunc(given, strange) {
		return given
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	return hex.EncodeToString(id[:])
}
