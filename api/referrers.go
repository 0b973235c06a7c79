package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxReferrers is how large a list of referrers may be in bytes, about: clients refuse indexes over 4 MiB.
const maxReferrers = 2 << 20

// aReferrer is what a descriptor without annotations takes in an answer, about.
const aReferrer = 512

// listReferrers lists the manifests whose subject is this digest, whether it exists or not (end-12).
func (g *Registry) listReferrers(w *answer, r *http.Request, q request) error {
	p, err := pageOf(r)
	if err != nil {
		return err
	}
	after, err := parseAfter(p.last)
	if err != nil {
		return err
	}
	subject, err := fsm.Pack(q.digest)
	if err != nil {
		return err
	}
	artifactType := r.URL.Query().Get("artifactType")
	var all []fsm.Referrer
	err = g.readList(w, r, func(v fsm.View) (int, error) {
		all = v.Referrers(q.repository, subject, artifactType, after, p.n+1)
		return len(all), nil
	})
	if err != nil {
		return err
	}
	index, err := g.indexOf(r.Context(), q.repository, all[:min(len(all), p.n)])
	if err != nil {
		return err
	}
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if n := len(index.Manifests); n > 0 && n < len(all) {
		linkNext(w, r, p.n, formatAfter(all[n-1]))
	}
	return writeJSON(w, v1.MediaTypeImageIndex, index)
}

// indexOf makes an index of referrers, of as many as fit into one answer, one at least.
func (g *Registry) indexOf(ctx context.Context, repository string, all []fsm.Referrer) (v1.Index, error) {
	index := v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{},
	}
	size := 0
	for _, one := range all {
		annotations := one.Annotations
		if one.InBody {
			var err error
			if annotations, err = g.annotations(ctx, repository, one.Digest); err != nil {
				return v1.Index{}, err
			}
		}
		size += aReferrer + sizeOf(annotations)
		if size > maxReferrers && len(index.Manifests) > 0 {
			break
		}
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: one.MediaType, Digest: one.Digest.Unpack(), Size: one.Size,
			ArtifactType: one.ArtifactType, Annotations: annotations,
		})
	}
	return index, nil
}

// annotations reads the annotations of a manifest that has more than the state keeps. One that was deleted
// since it was listed has none.
func (g *Registry) annotations(ctx context.Context, repository string, d fsm.Digest) (map[string]string, error) {
	var f found
	err := g.state.View(func(v fsm.View) (err error) {
		m, there := v.Manifest(repository, d)
		if !there {
			return fsm.ErrManifestUnknown
		}
		f, err = locate(v, repository, m)
		return err
	})
	if errors.Is(err, fsm.ErrManifestUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := g.bodyOfManifest(ctx, repository, f)
	if err != nil {
		return nil, err
	}
	var said struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(b, &said); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", d, err)
	}
	return said.Annotations, nil
}

// formatAfter names the last referrer of a page: referrers are listed by artifact type and digest.
func formatAfter(r fsm.Referrer) string { return r.Digest.String() + ";" + r.ArtifactType }

// parseAfter is the inverse of formatAfter; none of "".
//
// It fails with errPage.
func parseAfter(s string) (fsm.Referrer, error) {
	if s == "" {
		return fsm.Referrer{}, nil
	}
	text, artifactType, _ := strings.Cut(s, ";")
	d, err := oci.ParseDigest(text)
	if err != nil {
		return fsm.Referrer{}, fmt.Errorf("%w: last is %.80q, not as a Link had it", errPage, s)
	}
	packed, err := fsm.Pack(d)
	return fsm.Referrer{Digest: packed, ArtifactType: artifactType}, err
}
