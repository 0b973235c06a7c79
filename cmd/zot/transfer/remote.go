package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// Remote is a Source: another registry, of any make, through the distribution specification. What that cannot list are
// manifests that no tag names, no index lists and that refer to nothing that is copied.
type Remote struct {
	registry *remote.Registry
	one      string // the only repository; "" for those of the catalog
}

var _ Source = (*Remote)(nil)

// RemoteConfig says which registry it is.
type RemoteConfig struct {
	Host       string // with port, where it has one
	Repository string // the one to copy; "": the catalog is asked
	PlainHTTP  bool
	SkipVerify bool // any certificate is taken
}

// NewRemote makes a source of a registry. Who the user is stands in the configuration of Docker, as 'docker login'
// leaves it there. Nobody is asked for anything yet.
func NewRemote(c RemoteConfig) (*Remote, error) {
	r, err := remote.NewRegistry(c.Host)
	if err != nil {
		return nil, err
	}
	known, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the configuration of Docker: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()                                            //nolint:forcetypeassert // it is one, says net/http
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.SkipVerify} //nolint:gosec // if the operator says so
	r.Client = &auth.Client{
		Client: &http.Client{Transport: retry.NewTransport(transport)}, Cache: auth.NewCache(), Credential: credentials.Credential(known),
		Header: http.Header{"User-Agent": {"zot"}},
	}
	r.PlainHTTP = c.PlainHTTP || isLoopback(c.Host)
	return &Remote{r, c.Repository}, nil
}

// isLoopback reports whether a registry is one of this machine, which has no TLS for most.
func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// Repositories lists the catalog, or the one that was asked for.
func (r *Remote) Repositories(ctx context.Context) (all []string, err error) {
	if r.one != "" {
		return []string{r.one}, nil
	}
	err = r.registry.Repositories(ctx, "", func(names []string) error {
		all = append(all, names...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the repositories of %s (one that has no catalog is copied repository by repository, docker://%s/NAME): %w",
			r.registry.Reference.Registry, r.registry.Reference.Registry, err)
	}
	return all, nil
}

func (r *Remote) repository(ctx context.Context, name string) (*remote.Repository, error) {
	repository, err := r.registry.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return repository.(*remote.Repository), nil //nolint:forcetypeassert // it is no other
}

// Roots lists the tags. What they name is asked when it is their turn.
func (r *Remote) Roots(ctx context.Context, name string) (roots []Root, err error) {
	repository, err := r.repository(ctx, name)
	if err != nil {
		return nil, err
	}
	err = repository.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			roots = append(roots, Root{Tags: []string{tag}})
		}
		return nil
	})
	return roots, missing(err)
}

// Resolve asks what a tag names.
func (r *Remote) Resolve(ctx context.Context, name, tag string) (digest.Digest, error) {
	repository, err := r.repository(ctx, name)
	if err != nil {
		return "", err
	}
	d, err := repository.Resolve(ctx, tag)
	return d.Digest, missing(err)
}

// Manifest pulls a manifest.
func (r *Remote) Manifest(ctx context.Context, name string, d digest.Digest) (Manifest, error) {
	repository, err := r.repository(ctx, name)
	if err != nil {
		return Manifest{}, err
	}
	found, body, err := repository.Manifests().FetchReference(ctx, d.String())
	if err != nil {
		return Manifest{}, missing(err)
	}
	content, err := io.ReadAll(io.LimitReader(body, oci.MaxManifest+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return Manifest{}, err
	}
	return checked(d, found.MediaType, content)
}

// Blob pulls a blob.
func (r *Remote) Blob(ctx context.Context, name string, d digest.Digest) (io.ReadCloser, int64, error) {
	repository, err := r.repository(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	found, body, err := repository.Blobs().FetchReference(ctx, d.String())
	return body, found.Size, missing(err)
}

// Referrers asks for what refers to a manifest, in the older way too where the registry has only that.
func (r *Remote) Referrers(ctx context.Context, name string, d digest.Digest) (all []digest.Digest, err error) {
	repository, err := r.repository(ctx, name)
	if err != nil {
		return nil, err
	}
	subject := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: d}
	err = repository.Referrers(ctx, subject, "", func(page []v1.Descriptor) error {
		for _, referrer := range page {
			all = append(all, referrer.Digest)
		}
		return nil
	})
	return all, missing(err)
}

// missing makes ErrNotFound of the library's.
func missing(err error) error {
	if errors.Is(err, errdef.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}
