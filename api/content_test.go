package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

func TestContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := digest.Digest(w.pushImage("v1", ""))
	signature := digest.Digest(w.pushImage("", `,"artifactType":"a/b","subject":{"mediaType":"`+typeImage+`","digest":"`+image.String()+`","size":3}`))
	other := digest.Digest(w.pushImage("", large(image.String())))
	in, ctx := w.Content("a/b"), t.Context()

	d, err := in.Resolve(oci.Reference{Tag: "v1"})
	if err != nil || d.Digest != image || d.MediaType != typeImage || d.Size == 0 {
		t.Errorf("v1 is %+v, %v", d, err)
	}
	if _, err := in.Resolve(oci.Reference{Tag: "v2"}); !errors.Is(err, fsm.ErrManifestUnknown) {
		t.Errorf("v2: %v", err)
	}
	if _, err := w.Content("a/c").Resolve(oci.Reference{Tag: "v1"}); !errors.Is(err, fsm.ErrRepositoryUnknown) {
		t.Errorf("a/c: %v", err)
	}
	if d, ok, err := in.Tagged(ctx, "v1"); d != image || !ok || err != nil {
		t.Errorf("v1 is %s, %t, %v", d, ok, err)
	}
	for _, missing := range []string{"v2", "sha256:short"} {
		if _, ok, err := in.Tagged(ctx, missing); ok || err != nil {
			t.Errorf("%s: %t, %v", missing, ok, err)
		}
	}

	for artifactType, want := range map[string][]digest.Digest{"a/b": {signature}, "application/vnd.oci.image.config.v1+json": {other}, "a/c": nil} {
		if all, err := in.Referrers(ctx, image, artifactType, 10); err != nil || !slices.Equal(all, want) {
			t.Errorf("referrers of type %s: %v, %v", artifactType, all, err)
		}
	}
	if all, err := in.Referrers(ctx, image, "a/b", 0); err != nil || len(all) != 0 {
		t.Errorf("no referrer: %v, %v", all, err)
	}

	for _, d := range []digest.Digest{image, other} { // in the state, and in a blob
		if body, ok, err := in.Manifest(ctx, d, 4<<20); !ok || err != nil || digest.FromBytes(body) != d {
			t.Errorf("manifest %s: %d bytes, %t, %v", d, len(body), ok, err)
		} else if again, ok, err := in.Manifest(ctx, d, int64(len(body))); !ok || err != nil || len(again) != len(body) {
			t.Errorf("manifest %s of as much as may be: %d bytes, %t, %v", d, len(again), ok, err)
		} else if body, ok, err := in.Manifest(ctx, d, int64(len(body))-1); body != nil || ok || err != nil {
			t.Errorf("manifest %s that is too large: %d bytes, %t, %v", d, len(body), ok, err)
		}
	}
	for _, d := range []digest.Digest{digest.FromString("none"), "sha256:short", ""} {
		if _, ok, err := in.Manifest(ctx, d, 4<<20); ok || err != nil {
			t.Errorf("manifest %q: %t, %v", d, ok, err)
		}
		if _, ok, err := in.Blob(ctx, v1.Descriptor{Digest: d, Size: 1}, 100); ok || err != nil {
			t.Errorf("blob %q: %t, %v", d, ok, err)
		}
	}

	config := v1.Descriptor{Digest: digest.FromString("config"), Size: 1} // what it says of the size counts for nothing
	if body, ok, err := in.Blob(ctx, config, 6); string(body) != "config" || !ok || err != nil {
		t.Errorf("blob: %q, %t, %v", body, ok, err)
	}
	if body, ok, err := in.Blob(ctx, config, 5); body != nil || ok || err != nil {
		t.Errorf("blob that is too large: %q, %t, %v", body, ok, err)
	}
	if _, ok, err := w.Content("a/c").Blob(ctx, config, 6); ok || err != nil {
		t.Errorf("blob of another repository: %t, %v", ok, err)
	}
}

// What cannot be read now is not missing, and bytes that are not the blob's are not handed on.
func TestContentThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushImage("v1", "")
	other := digest.Digest(w.pushImage("", large(digest.FromString("image").String())))
	config := v1.Descriptor{Digest: digest.FromString("config")}
	for name, test := range map[string]struct {
		open func() (blobstore.Reader, error)
		want error
	}{
		"no holder":   {func() (blobstore.Reader, error) { return nil, blobstore.ErrUnreachable }, blobstore.ErrUnreachable},
		"other bytes": {func() (blobstore.Reader, error) { return mistaken{strings.NewReader("gifnoc")}, nil }, blobstore.ErrCopyDamaged},
		"too few":     {func() (blobstore.Reader, error) { return mistaken{strings.NewReader("con")}, nil }, io.ErrUnexpectedEOF},
	} {
		w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) { return test.open() })
		if body, ok, err := w.Content("a/b").Blob(t.Context(), config, 100); ok || !errors.Is(err, test.want) {
			t.Errorf("%s: %q, %t, %v", name, body, ok, err)
		}
	}
	w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) { return nil, blobstore.ErrUnreachable })
	if _, ok, err := w.Content("a/b").Manifest(t.Context(), other, 4<<20); ok || !errors.Is(err, blobstore.ErrUnreachable) {
		t.Errorf("a manifest without a holder: %t, %v", ok, err)
	}
	if _, ok, err := w.Content("a/b").Manifest(t.Context(), other, 1000); ok || err != nil {
		t.Errorf("one that is too large has been read: %t, %v", ok, err)
	}
	w.over(func(context.Context, blobstore.Blob) (blobstore.Reader, error) {
		return mistaken{bytes.NewReader([]byte("config"))}, nil
	})
	if body, ok, err := w.Content("a/b").Blob(t.Context(), config, 100); string(body) != "config" || !ok || err != nil {
		t.Errorf("%q, %t, %v", body, ok, err)
	}
	w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1"})
}
