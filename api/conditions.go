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

// field returns a header field, all its lines as one list (RFC 9110, 5.3), and whether it is there. One that is
// there may be empty: a condition that says nothing is not the same as none.
func field(r *http.Request, name string) (value string, there bool) {
	lines := r.Header.Values(name)
	return strings.TrimSpace(strings.Join(lines, ", ")), len(lines) > 0
}

// isConditional reports whether the client has a condition.
func isConditional(r *http.Request) bool {
	_, is := field(r, "If-Match")
	_, not := field(r, "If-None-Match")
	return is || not
}

// isKnown reports whether the client has the content already (RFC 9110, 13.1.2).
//
// It fails with errCondition if the client wants other content than this, by If-Match.
func isKnown(r *http.Request, etag string) (bool, error) {
	if wanted, there := field(r, "If-Match"); there && !lists(wanted, etag) {
		return false, fmt.Errorf("%w: this is %s", errCondition, etag)
	}
	known, _ := field(r, "If-None-Match")
	return lists(strings.ReplaceAll(known, "W/", ""), etag), nil
}

// lists reports whether an entity tag is in a list of them, or the list stands for all.
func lists(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "*" || one == etag {
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
	header, absent := field(r, "If-None-Match")
	if absent && header != "*" {
		return c, fmt.Errorf("%w: If-None-Match may only be *", errManifestHeader)
	}
	d, err := wantedDigest(r)
	switch {
	case err != nil:
		return c, err
	case d == "":
		c.Absent = absent
		return c, nil
	case absent:
		return c, fmt.Errorf("%w: If-Match and If-None-Match cannot both hold", errManifestHeader)
	}
	c.Is, err = fsm.Pack(d)
	return c, err
}

// digestCondition judges the conditions of a request that deletes what a digest names: it is what If-Match says,
// or is not there at all.
//
// It fails with errCondition, or errManifestHeader for what cannot be judged.
func digestCondition(r *http.Request, d digest.Digest) error {
	if _, there := field(r, "If-None-Match"); there {
		return fmt.Errorf("%w: If-None-Match says nothing about what is deleted by digest", errManifestHeader)
	}
	wanted, err := wantedDigest(r)
	if err == nil && wanted != "" && wanted != d {
		err = fmt.Errorf("%w: %s is to be deleted", errCondition, d)
	}
	return err
}

// wantedDigest is the digest that If-Match names; "" without one.
//
// It fails with errManifestHeader for anything but one entity tag that we give.
func wantedDigest(r *http.Request) (digest.Digest, error) {
	header, there := field(r, "If-Match")
	if !there {
		return "", nil
	}
	text, opened := strings.CutPrefix(header, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	d, err := oci.ParseDigest(text)
	if err != nil || !opened || !closed {
		return "", fmt.Errorf("%w: If-Match must be one ETag of this registry", errManifestHeader)
	}
	return d, nil
}
