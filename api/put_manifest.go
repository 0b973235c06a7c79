package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// The bounds of a manifest that the state takes (DESIGN 2).
const (
	maxInline      = 48 << 10 // of a body in the state; a larger one is a blob
	maxAnnotations = 16 << 10 // of annotations in the state
	maxTags        = 64       // of one put
)

// putManifest makes a manifest visible, under its tags (end-7a, end-7b).
func (g *Registry) putManifest(w *answer, r *http.Request, q request) error {
	if _, there := field(r, "Content-Range"); there { // RFC 9110, 14.5
		return fmt.Errorf("%w: a manifest comes whole, without Content-Range", oci.ErrManifestInvalid)
	}
	cmd, err := tagsOf(r, q)
	if err != nil {
		return err
	}
	if err := g.takes(r.Context(), fsm.View.Writable); err != nil {
		return err
	}
	if err := g.limitTags(w, r, &cmd); err != nil {
		return err
	}
	leave, err := enter(g.limits.manifests, weightOf(r))
	if err != nil {
		return err
	}
	defer leave()
	content, err := io.ReadAll(io.LimitReader(bodyOf(w, r), maxManifestWeight))
	if err != nil {
		return err
	}
	m, err := parseManifest(r.Header.Get("Content-Type"), content, q.reference.Digest)
	if err != nil {
		return err
	}
	if err := fill(&cmd, m); err != nil {
		return err
	}
	if err := g.record(w, r, cmd, m.Digest, content); err != nil {
		return err
	}
	h := w.Header()
	if m.Subject != nil {
		h.Set("OCI-Subject", m.Subject.Digest.String())
	}
	for _, tag := range r.URL.Query()["tag"] {
		h.Add("OCI-Tag", tag)
	}
	h.Set("ETag", etagOf(m.Digest))
	return created(w, "/v2/"+q.repository+"/manifests/"+m.Digest.String(), m.Digest)
}

// record puts a manifest into the state, and its body where it belongs.
//
// It fails with blobstore.ErrNoSpace if this node's disk is full: the state grows on it too.
func (g *Registry) record(w *answer, r *http.Request, cmd fsm.PutManifest, d digest.Digest, content []byte) error {
	_, err := alive(w, r, func(ctx context.Context) (struct{}, error) {
		s, err := g.storeFor(cmd.Repository)
		if err != nil {
			return struct{}{}, err
		}
		if err := g.room(ctx, s); err != nil {
			return struct{}{}, err
		}
		cmd.Store = s.Name
		if len(content) <= maxInline {
			cmd.Body = content
		} else if err := g.storeBody(ctx, s, cmd.Repository, d, content); err != nil {
			return struct{}{}, err
		}
		_, err = do(ctx, g.proposer, cmd)
		return struct{}{}, judged(w.caller, r, cmd, err)
	})
	return err
}

// tagsOf begins the command of a put: its repository, its tags and what must be true of them.
//
// It fails with oci.ErrTagInvalid, errTooManyTags or errManifestHeader.
func tagsOf(r *http.Request, q request) (fsm.PutManifest, error) {
	cmd := fsm.PutManifest{Repository: q.repository}
	condition, err := tagCondition(r)
	if err != nil {
		return cmd, err
	}
	names := r.URL.Query()["tag"]
	if q.reference.Tag != "" {
		names = append([]string{q.reference.Tag}, names...)
	}
	if len(names) == 0 && condition != (fsm.TagCondition{}) {
		return cmd, fmt.Errorf("%w: conditions are about tags, and this request has none", errManifestHeader)
	}
	if len(names) > maxTags {
		return cmd, fmt.Errorf("%w: %d, at most %d", errTooManyTags, len(names), maxTags)
	}
	for _, name := range names {
		if err := oci.ValidateTag(name); err != nil {
			return cmd, err
		}
		cmd.Tags = append(cmd.Tags, fsm.TagMove{Tag: name, If: condition})
	}
	return cmd, nil
}

// parseManifest reads a manifest, whose digest must be the wanted one if there is one.
//
// It fails with oci's errors, or errManifestDigest.
func parseManifest(mediaType string, content []byte, want digest.Digest) (oci.Manifest, error) {
	algorithm := digest.SHA256
	if want != "" {
		algorithm = want.Algorithm()
	}
	m, err := oci.ParseManifest(mediaType, content, algorithm)
	if err != nil {
		return oci.Manifest{}, err
	}
	if want != "" && m.Digest != want {
		return oci.Manifest{}, fmt.Errorf("%w: the body has %s", errManifestDigest, m.Digest)
	}
	if strings.ContainsFunc(m.ArtifactType, func(c rune) bool { return c < ' ' }) {
		return oci.Manifest{}, fmt.Errorf("%w: artifactType has control characters", oci.ErrManifestInvalid)
	}
	if len(m.ArtifactType) > maxArtifactType { // a configuration's media type may be one
		return oci.Manifest{}, fmt.Errorf("%w: artifactType has more than %d bytes", oci.ErrManifestInvalid, maxArtifactType)
	}
	return m, nil
}

// maxArtifactType is the longest media type (RFC 6838, 4.2).
const maxArtifactType = 255

// fill puts what a manifest says into its command.
func fill(cmd *fsm.PutManifest, m oci.Manifest) (err error) {
	cmd.Size, cmd.MediaType, cmd.ArtifactType = m.Size, m.MediaType, m.ArtifactType
	if cmd.Digest, err = fsm.Pack(m.Digest); err != nil {
		return err
	}
	for _, ref := range m.References {
		d, err := fsm.Pack(ref.Digest)
		switch {
		case err != nil:
			return err
		case ref.Manifest:
			cmd.Manifests = append(cmd.Manifests, d)
		default:
			cmd.Blobs = append(cmd.Blobs, d)
		}
	}
	for _, ref := range m.Optional {
		d, err := fsm.Pack(ref.Digest)
		if err != nil {
			return err
		}
		cmd.Optional = append(cmd.Optional, d)
	}
	if m.Subject == nil {
		return nil // annotations are only for the list of referrers
	}
	if sizeOf(m.Annotations) <= maxAnnotations {
		cmd.Annotations = m.Annotations
	} else {
		cmd.InBody = true
	}
	cmd.Subject, err = fsm.Pack(m.Subject.Digest)
	return err
}

func sizeOf(annotations map[string]string) (n int) {
	for k, v := range annotations {
		n += len(k) + len(v)
	}
	return n
}

// storeBody makes a blob of a manifest's body, as if it had been uploaded (DESIGN 4).
func (g *Registry) storeBody(ctx context.Context, s Store, repository string, d digest.Digest, content []byte) error {
	now, err := g.now()
	if err != nil {
		return err
	}
	u, at := newUpload(now, d.Algorithm()), blobstore.Time(now)
	u.store = s
	if err := s.Blobs.CreateUpload(ctx, u.id, d.Algorithm(), at); err != nil {
		return fmt.Errorf("store manifest %s: %w", d, err)
	}
	defer g.removeUpload(ctx, u)
	if _, err := s.Blobs.Append(ctx, u.id, 0, bytes.NewReader(content), at); err != nil {
		return fmt.Errorf("store manifest %s: %w", d, err)
	}
	size, err := s.Blobs.Finish(ctx, u.id, d)
	if err != nil {
		return fmt.Errorf("store manifest %s: %w", d, err)
	}
	return g.commit(ctx, &commit{}, repository, u, d, size)
}

// removeUpload leaves nothing of an upload that nobody will come back to, whether its client waits or not.
func (g *Registry) removeUpload(ctx context.Context, u upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	if err := u.store.Blobs.RemoveUpload(ctx, u.id); err != nil {
		blobstore.LogFor(ctx, g.log).Warn("upload is left behind", "store", u.store.Name, "upload", u.id.String(), "error", err)
	}
}
