package transfer_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/cmd/zot/transfer"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSource is a directory with two repositories that share a layer.
func newSource(t *testing.T) (dir string, shared digest.Digest) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"a", "a/b"} {
		l := images.NewLayout(t)
		layer := l.Layer(1, 300<<10)
		shared = layer.Digest
		platform := v1.Platform{OS: "linux", Architecture: "amd64"}
		one := l.Image(platform, layer, l.Layer(uint64(2+len(name)), 1000))
		l.Tag("all", l.Index(one))
		l.Tag("one", one)
		must(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(l.Dir)))
	}
	return dir, shared
}

// opens counts how often a blob is opened.
type opens struct {
	transfer.Source

	blobs atomic.Int64
}

func (o *opens) Blob(ctx context.Context, repository string, d digest.Digest) (io.ReadCloser, int64, error) {
	o.blobs.Add(1)
	return o.Source.Blob(ctx, repository, d)
}

// copied copies a directory to another and returns what was wrong.
func copied(t *testing.T, from, to string, o transfer.Options) (problems []transfer.Problem, p *transfer.Progress, blobs int64) {
	t.Helper()
	source, err := transfer.OpenDirectory(t.Context(), from, "")
	must(t, err)
	target, err := transfer.OpenLayouts(to)
	must(t, err)
	p = &transfer.Progress{}
	o.Jobs, o.Problem = 3, func(p transfer.Problem) { problems = append(problems, p) }
	counted := &opens{Source: source}
	must(t, transfer.Copy(t.Context(), counted, target, o, p))
	must(t, errors.Join(source.Close(), target.Close()))
	return problems, p, counted.blobs.Load()
}

// Every blob is read once, whatever has it, and not again when it is there.
func TestCopy(t *testing.T) {
	t.Parallel()
	from, shared := newSource(t)
	to := filepath.Join(t.TempDir(), "to")
	problems, p, blobs := copied(t, from, to, transfer.Options{DryRun: true})
	if len(problems) > 0 || blobs > 0 || p.Blobs.Load() != 5 || p.Manifests.Load() != 4 {
		t.Errorf("a dry run: %v, %d blobs were read, %d would be, %d manifests", problems, blobs, p.Blobs.Load(), p.Manifests.Load())
	}
	if _, err := os.Stat(filepath.Join(to, "a")); err == nil {
		t.Error("a dry run has written something")
	}
	problems, p, blobs = copied(t, from, to, transfer.Options{})
	if len(problems) > 0 || blobs != 5 || p.BlobsMounted.Load() != 1 || p.Images.Done.Load() != 4 {
		t.Errorf("%v, %d blobs were read, %d are there twice, %d images", problems, blobs, p.BlobsMounted.Load(), p.Images.Done.Load())
	}
	path := func(repository string) string {
		return filepath.Join(to, repository, "blobs", "sha256", shared.Encoded())
	}
	one, err := os.Stat(path("a"))
	must(t, err)
	other, err := os.Stat(path("a/b"))
	must(t, err)
	if !os.SameFile(one, other) {
		t.Error("a blob of two repositories has two files")
	}
	if problems, _, blobs := copied(t, from, to, transfer.Options{}); len(problems) > 0 || blobs > 0 {
		t.Errorf("what was there was read again: %v, %d blobs", problems, blobs)
	}
	must(t, os.Remove(path("a")))
	if problems, _, blobs := copied(t, from, to, transfer.Options{}); len(problems) > 0 || blobs > 1 {
		t.Errorf("%v, %d blobs were read for one that was missing", problems, blobs)
	}
}

// What is bad is not written, and all else is; a crash in the middle leaves nothing that is taken for whole.
func TestCopyOfWhatIsBad(t *testing.T) {
	t.Parallel()
	from, shared := newSource(t)
	to := filepath.Join(t.TempDir(), "to")
	for _, name := range []string{"a", "a/b"} {
		must(t, os.WriteFile(filepath.Join(from, name, "blobs", "sha256", shared.Encoded()), []byte("other bytes"), 0o600))
	}
	problems, _, _ := copied(t, from, to, transfer.Options{Only: []string{"a"}})
	if len(problems) != 2 || !strings.Contains(problems[0].Error(), "bytes do not match the digest") {
		t.Errorf("%v", problems)
	}
	for _, name := range []string{"index.json", "blobs/sha256/" + shared.Encoded(), "blobs/sha256/" + shared.Encoded() + ".partial"} {
		if _, err := os.Stat(filepath.Join(to, "a", name)); err == nil {
			t.Errorf("there is %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "a/b")); err == nil {
		t.Error("a repository was copied that nobody asked for")
	}
}

// An empty file in the place of a blob is a stub: its bytes are in another repository.
func TestStub(t *testing.T) {
	t.Parallel()
	from, shared := newSource(t)
	must(t, os.WriteFile(filepath.Join(from, "a", "blobs", "sha256", shared.Encoded()), nil, 0o600))
	if problems, _, _ := copied(t, from, filepath.Join(t.TempDir(), "to"), transfer.Options{}); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}
