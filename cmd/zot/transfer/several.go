package transfer

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// several is a Source of several: the stores of one zot.
type several struct {
	names []string
	of    map[string]Source // by repository
}

var _ Filed = (*several)(nil)

// Several makes one source of several. A repository that is in more than one is taken from the last that has it.
func Several(ctx context.Context, all ...Source) (Source, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	s := &several{of: map[string]Source{}}
	for _, one := range all {
		names, err := one.Repositories(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if _, known := s.of[name]; !known {
				s.names = append(s.names, name)
			}
			s.of[name] = one
		}
	}
	return s, nil
}

// Repositories lists those of all.
func (s *several) Repositories(context.Context) ([]string, error) { return s.names, nil }

// Roots asks the source that has the repository; so do the others.
func (s *several) Roots(ctx context.Context, repository string) ([]Root, error) {
	return s.of[repository].Roots(ctx, repository)
}

func (s *several) Resolve(ctx context.Context, repository, tag string) (digest.Digest, error) {
	return s.of[repository].Resolve(ctx, repository, tag)
}

func (s *several) Manifest(ctx context.Context, repository string, d digest.Digest) (Manifest, error) {
	return s.of[repository].Manifest(ctx, repository, d)
}

func (s *several) Blob(ctx context.Context, repository string, d digest.Digest) (io.ReadCloser, int64, error) {
	return s.of[repository].Blob(ctx, repository, d)
}

func (s *several) Referrers(ctx context.Context, repository string, d digest.Digest) ([]digest.Digest, error) {
	return s.of[repository].Referrers(ctx, repository, d)
}

// File is ErrNotFound for a repository of a source that has no files.
func (s *several) File(repository string, d digest.Digest) (directory, name string, size int64, err error) {
	if filed, ok := s.of[repository].(Filed); ok {
		return filed.File(repository, d)
	}
	return "", "", 0, fmt.Errorf("%w: %s is no file of this machine", ErrNotFound, d)
}
