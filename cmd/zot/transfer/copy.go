package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxTags is how many tags are set at once: what a node takes.
const maxTags = 64

// Options says what is copied, and how.
type Options struct {
	// Only are globs: the repositories that match any are copied. None: all are.
	Only []string
	// Rename is what the one repository is called at the target; "": as it is.
	Rename string
	// Overwrite has tags of the target name what they do at the source. Else those that name something else stay.
	Overwrite bool
	// DryRun has nothing written: what would be taken is counted.
	DryRun bool
	// Jobs is how many images are copied at a time, and how many blobs.
	Jobs int
	// Problem is told what could not be copied, by one at a time.
	Problem func(Problem)
	// Note is told once why files are not linked.
	Note func(string)
}

// Problem is something that was not copied.
type Problem struct {
	Repository string
	Reference  string // a tag or digest; "" for all of the repository
	Err        error
}

// Error is for people.
func (p Problem) Error() string {
	if p.Reference == "" {
		return fmt.Sprintf("%s: %v", p.Repository, p.Err)
	}
	return fmt.Sprintf("%s %s: %v", p.Repository, p.Reference, p.Err)
}

// Copy takes all images of a source to a target, and counts in p. It fails if it cannot go on; what is wrong with a
// single image goes to Options.Problem.
func Copy(ctx context.Context, from Source, to Target, o Options, p *Progress) error {
	c := &copier{
		from: from, to: to, Options: o, Progress: p,
		blobs: semaphore.NewWeighted(int64(o.Jobs)), digests: map[digest.Digest]*turn{}, at: map[digest.Digest]string{},
	}
	if o.DryRun {
		c.to = dry{to, p}
	}
	return c.run(ctx)
}

type copier struct {
	Options
	*Progress
	from Source
	to   Target

	blobs *semaphore.Weighted // a place for each that moves

	mu      sync.Mutex
	digests map[digest.Digest]*turn
	at      map[digest.Digest]string // a repository of the target that has the blob
	noLinks bool
	noted   map[string]bool
}

// turn lets one after the other look for a blob: the second finds what the first has brought.
type turn struct {
	sync.Mutex

	waiting int
}

// repository is one that is being copied.
type repository struct {
	*copier
	name, as string

	mu        sync.Mutex
	manifests map[digest.Digest]*walked
	taken     []Root
}

// walked is a manifest that somebody has taken, or is taking.
type walked struct {
	done     chan struct{}
	manifest Manifest
	err      error
}

func (c *copier) run(ctx context.Context) error {
	names, err := c.names(ctx)
	if err != nil {
		return err
	}
	c.Repositories.Total.Store(int64(len(names)))
	type content struct {
		name  string
		roots []Root
	}
	all := make([]content, 0, len(names))
	for _, name := range names {
		roots, err := c.from.Roots(ctx, name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.problem(name, "", err)
			continue
		}
		c.Images.Total.Add(int64(len(roots)))
		all = append(all, content{name, roots})
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(c.Jobs)
	for _, content := range all {
		r := &repository{copier: c, name: content.name, as: c.as(content.name), manifests: map[digest.Digest]*walked{}}
		var left sync.WaitGroup
		left.Add(len(content.roots))
		for _, root := range content.roots {
			work.Go(func() error {
				defer left.Done()
				return r.root(ctx, root)
			})
		}
		work.Go(func() error {
			left.Wait() // all were begun before this
			c.Repositories.Done.Add(1)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.to.Done(ctx, r.as, r.taken)
		})
	}
	return work.Wait()
}

// names are the repositories that are asked for.
func (c *copier) names(ctx context.Context) ([]string, error) {
	all, err := c.from.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	var names []string
	for _, name := range all {
		wanted := len(c.Only) == 0
		for _, glob := range c.Only {
			matches, err := doublestar.Match(glob, name)
			if err != nil {
				return nil, fmt.Errorf("glob %q: %w", glob, err)
			}
			wanted = wanted || matches
		}
		if wanted {
			names = append(names, name)
		}
	}
	if len(names) == 0 && len(c.Only) > 0 {
		return nil, fmt.Errorf("none of %d repositories matches %q", len(all), c.Only)
	}
	if c.Rename != "" && len(names) > 1 {
		return nil, fmt.Errorf("%d repositories cannot all become %s: name one of them", len(names), c.Rename)
	}
	return names, nil
}

func (c *copier) as(name string) string {
	if c.Rename != "" {
		return c.Rename
	}
	return name
}

func (c *copier) problem(repository, reference string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Problems.Add(1)
	c.Problem(Problem{repository, reference, err})
}

// root takes a manifest and its tags. What is wrong with it is told; an error is one for which all ends.
func (r *repository) root(ctx context.Context, root Root) error {
	defer r.Images.Done.Add(1)
	err := r.take(ctx, &root)
	switch {
	case err == nil:
		r.mu.Lock()
		r.taken = append(r.taken, root)
		r.mu.Unlock()
		return nil
	case ctx.Err() != nil || errors.Is(err, ErrTarget):
		return err
	}
	reference := root.Digest.String()
	if len(root.Tags) > 0 {
		reference = root.Tags[0]
	}
	r.problem(r.name, reference, err)
	return nil
}

func (r *repository) take(ctx context.Context, root *Root) error {
	if err := oci.ValidateRepository(r.as); err != nil {
		return err
	}
	if root.Digest == "" {
		d, err := r.from.Resolve(ctx, r.name, root.Tags[0])
		if err != nil {
			return err
		}
		root.Digest = d
	}
	m, err := r.manifest(ctx, root.Digest, root.MediaType)
	if err != nil {
		return err
	}
	root.Size = int64(len(m.Body))
	if root.MediaType == "" {
		root.MediaType = m.MediaType
	}
	if err := r.tags(ctx, m, root.Tags); err != nil {
		return err
	}
	return r.referrers(ctx, root.Digest)
}

// referrers takes what refers to a manifest, and what refers to that.
func (r *repository) referrers(ctx context.Context, d digest.Digest) error {
	all, err := r.from.Referrers(ctx, r.name, d)
	if err != nil {
		return fmt.Errorf("list what refers to it: %w", err)
	}
	for _, referrer := range all {
		if _, err := r.manifest(ctx, referrer, ""); err != nil {
			return fmt.Errorf("take %s, which refers to it: %w", referrer, err)
		}
		if err := r.referrers(ctx, referrer); err != nil {
			return err
		}
	}
	return nil
}

// manifest takes a manifest with all that it needs, once.
func (r *repository) manifest(ctx context.Context, d digest.Digest, mediaType string) (Manifest, error) {
	r.mu.Lock()
	w, begun := r.manifests[d]
	if !begun {
		w = &walked{done: make(chan struct{})}
		r.manifests[d] = w
	}
	r.mu.Unlock()
	if begun {
		select {
		case <-w.done: // digests make no circles, so nobody waits for himself
			return w.manifest, w.err
		case <-ctx.Done():
			return Manifest{}, ctx.Err()
		}
	}
	defer close(w.done)
	w.manifest, w.err = r.walk(ctx, d, mediaType)
	return w.manifest, w.err
}

// attempts is how often the parts of a manifest are looked for again when some are gone by the time that it is put:
// nothing held them, and collection was faster.
const attempts = 3

func (r *repository) walk(ctx context.Context, d digest.Digest, mediaType string) (Manifest, error) {
	m, err := r.to.Manifest(ctx, r.as, d)
	there := err == nil
	if errors.Is(err, ErrNotFound) {
		m, err = r.from.Manifest(ctx, r.name, d)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest %s: %w", d, err)
	}
	if m.MediaType == "" {
		m.MediaType = mediaType
	}
	parsed, err := oci.ParseManifest(m.MediaType, m.Body, d.Algorithm())
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest %s: %w", d, err)
	}
	m.MediaType = parsed.MediaType
	for left := attempts; ; left-- {
		if err := r.parts(ctx, parsed); err != nil {
			return Manifest{}, err
		}
		if there {
			r.ManifestsThere.Add(1)
			return m, nil
		}
		err := r.to.PutManifest(ctx, r.as, m, Tags{})
		if errors.Is(err, ErrBlobMissing) && left > 1 {
			continue
		}
		if err != nil {
			return Manifest{}, fmt.Errorf("put manifest %s: %w", d, err)
		}
		r.Manifests.Add(1)
		return m, nil
	}
}

// parts takes what a manifest needs: what it lists with their own referrers, then its blobs.
func (r *repository) parts(ctx context.Context, m oci.Manifest) error {
	var blobs []oci.Ref
	for _, ref := range m.References { // before anything that one failure would cancel: others wait for these too
		if !ref.Manifest {
			blobs = append(blobs, ref)
			continue
		}
		if _, err := r.manifest(ctx, ref.Digest, ref.MediaType); err != nil {
			return err
		}
		if err := r.referrers(ctx, ref.Digest); err != nil {
			return err
		}
	}
	work, ctx := errgroup.WithContext(ctx)
	for _, ref := range blobs {
		work.Go(func() error { return r.blob(ctx, ref) })
	}
	for _, ref := range m.Optional {
		work.Go(func() error {
			if err := r.blob(ctx, ref); !errors.Is(err, ErrNotFound) {
				return err
			}
			return nil
		})
	}
	return work.Wait()
}

// tags makes tags name a manifest, those alike together.
func (r *repository) tags(ctx context.Context, m Manifest, names []string) error {
	now := map[digest.Digest][]string{}
	var kept []error
	for _, name := range names {
		if err := oci.ValidateTag(name); err != nil {
			kept = append(kept, err)
			continue
		}
		is, err := r.to.Tag(ctx, r.as, name)
		switch {
		case errors.Is(err, ErrNotFound):
			now[""] = append(now[""], name)
		case err != nil:
			return fmt.Errorf("look at tag %s: %w", name, err)
		case is == m.Digest:
			r.TagsThere.Add(1)
		case r.Overwrite:
			now[is] = append(now[is], name)
		default:
			r.TagsKept.Add(1)
			kept = append(kept, fmt.Errorf("tag %s names %s there, and here %s: it stays (--overwrite would set it)", name, is, m.Digest))
		}
	}
	for is, names := range now {
		for group := range slices.Chunk(names, maxTags) {
			err := r.to.PutManifest(ctx, r.as, m, Tags{Names: group, Are: is})
			if err != nil {
				return fmt.Errorf("set tags %q: %w", group, err)
			}
			r.Tags.Add(int64(len(group)))
		}
	}
	return errors.Join(kept...)
}

// blob takes a blob, from wherever it can be had for the least: the repository has it, another of the target has it,
// it can be linked; else its bytes are moved.
func (r *repository) blob(ctx context.Context, ref oci.Ref) error {
	d := ref.Digest
	defer r.inTurn(d)()
	if err := ctx.Err(); err != nil {
		return err
	}
	has, err := r.to.HasBlob(ctx, r.as, d)
	if err != nil {
		return fmt.Errorf("look for blob %s: %w", d, err)
	}
	if has {
		r.BlobsThere.Add(1)
		r.known(d)
		return nil
	}
	if from := r.whereabouts(d); from != "" && from != r.as {
		mounted, err := r.to.Mount(ctx, r.as, from, d)
		if err != nil {
			return fmt.Errorf("mount blob %s from %s: %w", d, from, err)
		}
		if mounted {
			r.BlobsMounted.Add(1)
			return nil
		}
	}
	linked, err := r.link(ctx, ref)
	if err != nil {
		return err
	}
	if !linked {
		if err := r.move(ctx, ref); err != nil {
			return fmt.Errorf("blob %s: %w", d, err)
		}
	}
	r.known(d)
	return nil
}

// inTurn waits until nobody else is at this digest, and returns what ends the turn.
func (c *copier) inTurn(d digest.Digest) (end func()) {
	c.mu.Lock()
	t := c.digests[d]
	if t == nil {
		t = &turn{}
		c.digests[d] = t
	}
	t.waiting++
	c.mu.Unlock()
	t.Lock()
	return func() {
		t.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(c.digests, d)
		}
	}
}

func (r *repository) known(d digest.Digest) {
	r.copier.mu.Lock()
	defer r.copier.mu.Unlock()
	r.at[d] = r.as
}

func (c *copier) whereabouts(d digest.Digest) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[d]
}

// link tries to make the blob of a file. One that has not as many bytes as the manifest says is uploaded, so that it is
// hashed first: the state keeps the size of a blob that nobody has hashed, and would refuse the right bytes for it.
func (r *repository) link(ctx context.Context, ref oci.Ref) (bool, error) {
	d := ref.Digest
	files, filed := r.from.(Filed)
	to, links := r.to.(Linked)
	if !filed || !links || r.linksOff(false) {
		return false, nil
	}
	directory, name, size, err := files.File(r.name, d)
	if errors.Is(err, ErrNotFound) || err == nil && size != ref.Size {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	why, never, err := to.Link(ctx, r.as, d, size, directory, name)
	if err != nil {
		return false, fmt.Errorf("link blob %s: %w", d, err)
	}
	if why == "" {
		r.BlobsLinked.Add(1)
		r.BytesLinked.Add(size)
		return true, nil
	}
	r.note(why)
	r.linksOff(never)
	return false, nil
}

func (c *copier) linksOff(never bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noLinks = c.noLinks || never
	return c.noLinks
}

// note says once that files are uploaded, and the first reason.
func (c *copier) note(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noted == nil && c.Note != nil {
		c.noted = map[string]bool{}
		c.Note(why)
	}
}

// move brings the bytes.
func (r *repository) move(ctx context.Context, ref oci.Ref) error {
	if err := r.blobs.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.blobs.Release(1)
	if d, ok := r.to.(dry); ok {
		d.Blobs.Add(1)
		d.Bytes.Add(ref.Size)
		return nil
	}
	err := r.to.PutBlob(ctx, r.as, ref.Digest, func() (io.ReadCloser, int64, error) {
		body, size, err := r.from.Blob(ctx, r.name, ref.Digest)
		if err != nil {
			return nil, 0, err
		}
		return counting{body, &r.Bytes}, size, nil
	})
	if err == nil {
		r.Blobs.Add(1)
	}
	return err
}
