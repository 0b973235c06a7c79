package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// Stores are the stores of this node. They may be asked concurrently, and answer always alike.
type Stores interface {
	// Store returns the store that the state knows by a name; false if this node has none.
	Store(name string) (Store, bool)
	// Route returns the name of the store in which a repository begins that does not exist yet.
	Route(repository string) string
}

// Store is where the blobs of some repositories are.
type Store struct {
	Name      string // in the state
	Blobs     blobstore.Store
	Elsewhere Elsewhere // nil: all bytes come from here
	Hints     Hints     // nil: there are no other clusters
}

// Elsewhere knows where else than here the bytes of blobs can be had. It may be asked concurrently.
type Elsewhere interface {
	// Redirect returns an address from which a client that knows nothing else may get the whole of a blob, or any part
	// of it, for so long. It is for GET alone.
	Redirect(ctx context.Context, b blobstore.Blob, lifetime time.Duration) (string, error)
}

// Hints knows of blobs that other clusters have where this one keeps those of a store. It may be asked concurrently.
type Hints interface {
	// Stored is told of a blob that was recorded, and that everybody may read. It waits for nothing.
	Stored(b blobstore.Blob)
	// Adopt makes new copies of a blob that another cluster has, durable and verified, as Publish does. Whoever asks has
	// shown no more than that he knows the digest: what is made for him is a blob that everybody may read there.
	//   - blobstore.ErrCopyUnknown if nobody is known to have it
	Adopt(ctx context.Context, d digest.Digest) (blobstore.Blob, error)
}

// errNoStore is why this node cannot take a push, or serve a blob, that another one can.
var errNoStore = errors.New("this node's configuration has no such store")

// store returns the store of a name.
//
// It fails with errUnavailable: another node may have it.
func (g *Registry) store(name string) (Store, error) {
	s, ok := g.stores.Store(name)
	if !ok {
		return Store{}, unavailable(fmt.Errorf("%w: %s", errNoStore, name))
	}
	return s, nil
}

// storeFor returns the store of a repository, or the one in which it begins. An upload keeps to it: where its bytes have
// been put, there it says that they are, or the state would have copies in a store that does not have them. If the
// repository has been moved to another one by then, they are brought there.
//
// It fails as store does.
func (g *Registry) storeFor(repository string) (s Store, err error) {
	name := ""
	err = g.state.View(func(v fsm.View) error {
		if r, err := v.Repository(repository); err == nil {
			name = r.Store
		}
		return nil
	})
	if err != nil {
		return Store{}, err
	}
	if name == "" {
		name = g.stores.Route(repository)
	}
	return g.store(name)
}

// room fails with blobstore.ErrNoSpace if the disk of a store is so full that it takes no pushes, or that of the default
// store: what is left there is for the log and state of this node, which each push grows.
func (g *Registry) room(ctx context.Context, s Store) error {
	if s.Name != fsm.DefaultStore {
		if own, ok := g.stores.Store(fsm.DefaultStore); ok {
			if err := full(ctx, own); err != nil {
				return err
			}
		}
	}
	return full(ctx, s)
}

func full(ctx context.Context, s Store) error {
	u, err := s.Blobs.Usage(ctx)
	if err == nil && u.Full() {
		err = fmt.Errorf("%w: the disk of store %s is used to %d %%, and pushes are taken below %d %%: make room there; pulls and deletes go on",
			blobstore.ErrNoSpace, s.Name, u.Percent(), blobstore.FullFrom)
	}
	return err
}

// stored is a blob, and the name of the store that it is in.
type stored struct {
	blobstore.Blob
	store string
}

// open opens a part of a blob. It fails as the store does, or with errUnavailable if this node has not got that.
func (g *Registry) open(ctx context.Context, b stored, part span) (blobstore.Reader, error) {
	s, err := g.store(b.store)
	if err != nil {
		return nil, err
	}
	return s.Blobs.Open(ctx, b.Blob, part.offset, part.length)
}
