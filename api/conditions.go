package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// etagOf is the entity tag of content: its digest, the same on all nodes and for ever.
func etagOf(d digest.Digest) string { return `"` + d.String() + `"` }

// isKnown reports whether the client has the content already (RFC 9110, 13.1.2).
func isKnown(r *http.Request, etag string) bool {
	header := r.Header.Get("If-None-Match")
	if header == "" {
		return false
	}
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || one == etag {
			return true
		}
	}
	return false
}

// notModified answers that the client has the content.
func notModified(w *answer) error {
	w.Header().Del("Content-Length")
	w.WriteHeader(http.StatusNotModified)
	return nil
}

// tagCondition is what must be true of the tags that a request changes: "If-None-Match: *", that they do not
// exist; "If-Match" with one entity tag, that they name that manifest. It is judged when the command is applied,
// so of two that race one is refused.
//
// It fails with errManifestHeader for any other condition: to overlook one would overwrite what it guards.
func tagCondition(r *http.Request) (c fsm.TagCondition, err error) {
	if header := r.Header.Get("If-None-Match"); header != "" {
		if strings.TrimSpace(header) != "*" {
			return c, fmt.Errorf("%w: If-None-Match may only be *", errManifestHeader)
		}
		c.Absent = true
	}
	header := strings.TrimSpace(r.Header.Get("If-Match"))
	if header == "" {
		return c, nil
	}
	text, quoted := strings.CutPrefix(header, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	d, err := oci.ParseDigest(text)
	if err != nil || !quoted || !closed || c.Absent {
		return c, fmt.Errorf("%w: If-Match must be one ETag of a manifest, alone", errManifestHeader)
	}
	c.Is, err = fsm.Pack(d)
	return c, err
}
