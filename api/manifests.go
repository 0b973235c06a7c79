package api

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
)

// found is a manifest and where its bytes are: in body, or in a blob.
type found struct {
	fsm.Manifest
	body []byte
	blob stored
}

// find returns the manifest that a request names.
//
// It fails with fsm.ErrRepositoryUnknown or fsm.ErrManifestUnknown.
func find(v fsm.View, q request) (found, error) {
	m, err := v.Resolve(q.repository, q.reference)
	if err != nil {
		return found{}, err
	}
	return locate(v, q.repository, m)
}

// locate finds the bytes of a manifest.
func locate(v fsm.View, repository string, m fsm.Manifest) (f found, err error) {
	f.Manifest = m
	if m.Inline {
		f.body = bytes.Clone(v.Body(repository, m.Digest)) // it is the view's
		return f, nil
	}
	f.blob, err = visible(v, repository, m.Digest.Unpack())
	return f, err
}

// getManifest sends a manifest as it was pushed (end-3). It is never translated into what Accept lists: its
// digest would be another.
func (g *Registry) getManifest(w *answer, r *http.Request, q request) error {
	read := g.read
	if q.reference.Digest != "" {
		read = g.readDigest
	}
	var f found
	err := read(w, r, func(v fsm.View) (err error) {
		f, err = find(v, q)
		return err
	})
	if err != nil {
		return err
	}
	known, err := isKnown(r, describeManifest(w, f.Manifest))
	if err != nil {
		return err
	}
	g.pulls.Pulled(q.repository, f.Digest)
	if known {
		return notModified(w)
	}
	return g.sendManifest(w, r, q.repository, f)
}

// headManifest is getManifest without the body. It waits for its round also when it names a digest: clients
// push nothing after a 200.
func (g *Registry) headManifest(w *answer, r *http.Request, q request) error {
	var m fsm.Manifest
	err := g.read(w, r, func(v fsm.View) (err error) {
		m, err = v.Resolve(q.repository, q.reference)
		return err
	})
	if err != nil {
		return err
	}
	if known, err := isKnown(r, describeManifest(w, m)); err != nil {
		return err
	} else if known {
		return notModified(w)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// describeManifest sets the headers of an answer with a manifest, and returns its entity tag.
func describeManifest(w *answer, m fsm.Manifest) (etag string) {
	d := m.Digest.Unpack()
	etag = etagOf(d)
	h := w.Header()
	h.Set("Content-Type", m.MediaType)
	h.Set("Content-Length", strconv.FormatInt(m.Size, 10))
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", etag)
	return etag
}

// deleteManifest deletes a tag alone, or a manifest with all its tags (end-9).
func (g *Registry) deleteManifest(w *answer, r *http.Request, q request) error {
	remove := g.deleteTag
	if q.reference.Digest != "" {
		remove = g.deleteDigest
	}
	if err := remove(w, r, q); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (g *Registry) deleteTag(w *answer, r *http.Request, q request) error {
	condition, err := tagCondition(r)
	if err != nil {
		return err
	}
	_, err = do(r.Context(), g.proposer, fsm.DeleteTag{Repository: q.repository, Tag: q.reference.Tag, If: condition})
	return toReaders(w.caller, q.repository, err)
}

func (g *Registry) deleteDigest(w *answer, r *http.Request, q request) error {
	packed, err := fsm.Pack(q.reference.Digest)
	if err != nil {
		return err
	}
	if err := digestCondition(r, q.reference.Digest); err != nil {
		return err
	}
	_, err = do(r.Context(), g.proposer, fsm.DeleteManifest{
		Repository: q.repository, Digest: packed, AtMostOneTag: w.caller.May(access.DetectCollision, q.repository),
	})
	return err
}
