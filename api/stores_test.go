package api_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/fsm"
)

// several are stores by name. What is below "a" begins in "/a".
type several map[string]api.Store

func (s several) Store(name string) (api.Store, bool) {
	one, ok := s[name]
	return one, ok
}

func (several) Route(repository string) string {
	if strings.HasPrefix(repository, "a/") {
		return "/a"
	}
	return fsm.DefaultStore
}

// shelves is a registry with two stores.
type shelves struct {
	*world
	memory map[string]*memory.Store
	stores several
}

func newShelves(t *testing.T) *shelves {
	t.Helper()
	s := &shelves{world: newWorld(t), stores: several{}}
	other, err := memory.New(memory.Config{Incarnation: blobstore.Incarnation(self()), Capacity: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	s.memory = map[string]*memory.Store{fsm.DefaultStore: s.blobs, "/a": other}
	for name, blobs := range s.memory {
		s.stores[name] = api.Store{Name: name, Blobs: blobs}
	}
	s.restart()
	return s
}

// restart makes the registry anew, with the stores as they are.
func (s *shelves) restart() {
	s.t.Helper()
	c := api.DefaultConfig()
	c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	var err error
	s.Registry, err = api.New(c, api.Deps{Proposer: s.proposer, Consistency: s.consistency, State: s.state, Stores: maps.Clone(s.stores)})
	if err != nil {
		s.t.Fatal(err)
	}
}

// in returns the stores in which copies of a text are recorded, each of which must have them, and fails the test if a
// store has others.
func (s *shelves) in(text string) (names []string) {
	s.t.Helper()
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.state.View(func(v fsm.View) error {
		for _, name := range []string{fsm.DefaultStore, "/a"} {
			b, known := v.Blob(name, d)
			if !known {
				continue
			}
			names = append(names, name)
			for _, c := range b.Copies {
				at := []blobstore.Location{{Incarnation: blobstore.Incarnation(c.Incarnation), Copy: blobstore.CopyID(c.Copy)}}
				if err := s.memory[name].Verify(s.t.Context(), blobstore.Blob{Digest: digest.FromString(text), Size: b.Size, Locations: at}, nil); err != nil {
					s.t.Errorf("%q is recorded in store %s: %v", text, name, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

func (s *shelves) expectIn(text string, want ...string) {
	s.t.Helper()
	if got := strings.Join(s.in(text), " "); got != strings.Join(want, " ") {
		s.t.Errorf("%q is in %q, want %q", text, got, want)
	}
}

// begins makes a repository begin in a store, whatever the route, with a blob of its own name.
func (s *shelves) begins(repository, store string) {
	s.t.Helper()
	id, d := newUploadID(repository), digest.FromString(repository)
	ctx, blobs := s.t.Context(), s.memory[store]
	err := blobs.CreateUpload(ctx, id, "", 1)
	if err == nil {
		_, err = blobs.Append(ctx, id, 0, strings.NewReader(repository), 1)
	}
	if err == nil {
		_, err = blobs.Finish(ctx, id, d)
	}
	var at []blobstore.Location
	if err == nil {
		at, err = blobs.Publish(ctx, id)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	packed, err := fsm.Pack(d)
	if err != nil {
		s.t.Fatal(err)
	}
	propose(s.world, fsm.BlobStored{
		Repository: repository, Store: store, Digest: packed, Size: int64(len(repository)), Stamp: s.state.Position().Time,
		Locations: []fsm.Location{{Incarnation: self(), Copy: fsm.CopyID(at[0].Copy)}},
	})
}

func newUploadID(name string) (id blobstore.UploadID) {
	copy(id[:], digest.FromString(name).Encoded())
	return id
}

// A repository begins where the route says, and stays where it has begun: its blobs, the bodies of its large manifests
// too, are in that store and are read from there.
func TestWhereRepositoriesAre(t *testing.T) {
	t.Parallel()
	s := newShelves(t)
	s.begins("a/old", fsm.DefaultStore)
	s.begins("b/odd", "/a")
	for repository, store := range map[string]string{"a/x": "/a", "a/x/y": "/a", "a": fsm.DefaultStore, "b/x": fsm.DefaultStore, "a/old": fsm.DefaultStore, "b/odd": "/a"} {
		text := "layer of " + repository
		d := s.push(repository, text)
		s.expectIn(text, store)
		large := image(s.push(repository, "config"), `,"annotations":{"large":"`+repository+strings.Repeat("x", 60<<10)+`"}`)
		path := "/v2/" + repository + "/manifests/v1"
		s.must(http.StatusCreated, call{method: http.MethodPut, path: path, header: []string{"Content-Type: " + typeImage}, body: large})
		s.expectIn(large, store)
		if got := s.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/" + repository + "/blobs/" + d}).Body.String(); got != text {
			t.Errorf("%s: %q", repository, got)
		}
		if got := s.must(http.StatusOK, call{method: http.MethodGet, path: path}).Body.String(); got != large {
			t.Errorf("the manifest of %s: %.40q", repository, got)
		}
		s.must(http.StatusOK, call{method: http.MethodHead, path: "/v2/" + repository + "/blobs/" + d})
		at := s.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/" + repository + "/blobs/uploads/"}).Header().Get("Location")
		at = s.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "in two "}).Header().Get("Location")
		s.must(http.StatusNoContent, call{method: http.MethodGet, path: at})
		s.must(http.StatusCreated, call{method: http.MethodPut, path: at + "?digest=" + digest.FromString("in two parts").String(), body: "parts"})
	}
	s.expectIn("in two parts", fsm.DefaultStore, "/a")
}

// What another store has must be uploaded; within one it is mounted, from where the client says or anywhere.
func TestMountWithinAStore(t *testing.T) {
	t.Parallel()
	s := newShelves(t)
	d := s.push("a/x", "layer")
	post := func(status int, repository, query string) {
		t.Helper()
		s.must(status, call{method: http.MethodPost, path: "/v2/" + repository + "/blobs/uploads/?mount=" + d + query})
	}
	post(http.StatusAccepted, "b/x", "&from=a/x")
	post(http.StatusAccepted, "b/x", "")
	post(http.StatusCreated, "a/y", "&from=a/x")
	post(http.StatusCreated, "a/z", "")
	s.expectIn("layer", "/a")
	s.push("b/x", "layer")
	post(http.StatusCreated, "b/y", "")
	post(http.StatusAccepted, "b/z", "&from=a/x")
	s.expectIn("layer", fsm.DefaultStore, "/a")
}

// late is a store that does something, once, before bytes are verified or before copies are made.
type late struct {
	*memory.Store
	finish, publish func()
}

func firstly(f *func()) {
	if first := *f; first != nil {
		*f = nil
		first()
	}
}

func (l *late) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	firstly(&l.finish)
	return l.Store.Finish(ctx, id, d)
}

func (l *late) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	firstly(&l.publish)
	return l.Store.Publish(ctx, id)
}

// While a push is under way its repository comes to be in another store: it is moved, or begins there at a node whose
// configuration differs. The push goes on where it began, and is recorded there; what has come so is moved on (jobs/move).
func TestRepositoryIsInAnotherStoreMeanwhile(t *testing.T) {
	t.Parallel()
	put := func(at, text string) call {
		return call{method: http.MethodPut, path: at + "?digest=" + digest.FromString(text).String()}
	}
	upload := func(s *shelves, text string) string {
		at := s.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/x/blobs/uploads/"}).Header().Get("Location")
		return s.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: text}).Header().Get("Location")
	}
	large := `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[],"annotations":{"large":"` + strings.Repeat("x", 60<<10) + `"}}`
	for name, push := range map[string]func(s *shelves, elsewhere func()) (text string){
		"while it is recorded": func(s *shelves, elsewhere func()) string {
			at := upload(s, "layer")
			s.publishing("/a", elsewhere)
			s.must(http.StatusCreated, put(at, "layer"))
			s.must(http.StatusCreated, put(at, "layer"))
			return "layer"
		},
		"while it is verified": func(s *shelves, elsewhere func()) string {
			at := upload(s, "layer")
			s.stores["/a"] = api.Store{Name: "/a", Blobs: &late{Store: s.memory["/a"], finish: elsewhere}}
			s.restart()
			s.must(http.StatusCreated, put(at, "layer"))
			return "layer"
		},
		"while its bytes arrive": func(s *shelves, elsewhere func()) string {
			at := upload(s, "lay")
			elsewhere()
			s.must(http.StatusNoContent, call{method: http.MethodGet, path: at})
			at = s.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "er"}).Header().Get("Location")
			s.must(http.StatusCreated, put(at, "layer"))
			return "layer"
		},
		"before the first of them": func(s *shelves, elsewhere func()) string {
			at := s.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/x/blobs/uploads/"}).Header().Get("Location")
			elsewhere()
			c := put(at, "layer")
			c.body = "layer"
			s.must(http.StatusCreated, c)
			return "layer"
		},
		"in one request": func(s *shelves, elsewhere func()) string {
			s.publishing("/a", elsewhere)
			c := call{method: http.MethodPost, path: "/v2/a/x/blobs/uploads/?digest=" + digest.FromString("layer").String(), body: "layer"}
			s.must(http.StatusCreated, c)
			return "layer"
		},
		"a large manifest": func(s *shelves, elsewhere func()) string {
			s.publishing("/a", elsewhere)
			s.must(http.StatusCreated, call{method: http.MethodPut, path: "/v2/a/x/manifests/v1", header: []string{"Content-Type: " + typeIndex}, body: large})
			return large
		},
	} {
		for how, elsewhere := range map[string]func(s *shelves){
			"begins there": func(s *shelves) { s.begins("a/x", fsm.DefaultStore) },
			"is moved": func(s *shelves) {
				propose(s.world, fsm.MoveRepository{Repository: "a/x", To: fsm.DefaultStore})
			},
		} {
			t.Run(name+", it "+how, func(t *testing.T) {
				t.Parallel()
				s := newShelves(t)
				propose(s.world, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
				if how == "is moved" {
					s.begins("a/x", "/a")
					propose(s.world, fsm.DeleteBlob{Repository: "a/x", Digest: packed("a/x")})
				}
				text := push(s, func() { elsewhere(s) })
				s.expectIn(text, "/a")
				s.must(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/x/blobs/" + digest.FromString(text).String()})
				if got := s.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/x/blobs/" + digest.FromString(text).String()}).Body.String(); got != text {
					t.Errorf("%q", got)
				}
				s.expectMoving("a/x", fsm.DefaultStore, "/a")
				s.must(http.StatusCreated, put(upload(s, "next"), "next"))
				s.expectIn("next", fsm.DefaultStore)
			})
		}
	}
}

// publishing has something happen before the next copies are made in a store.
func (s *shelves) publishing(store string, first func()) {
	s.t.Helper()
	s.stores[store] = api.Store{Name: store, Blobs: &late{Store: s.memory[store], publish: first}}
	s.restart()
}

// expectMoving fails unless all that is elsewhere of a repository is in one store.
func (s *shelves) expectMoving(repository, to, from string) {
	s.t.Helper()
	err := s.state.View(func(v fsm.View) error {
		r, err := v.Repository(repository)
		if r.Store != to || len(r.Elsewhere) != 1 || r.Elsewhere[0].Store != from {
			s.t.Errorf("it is %+v", r)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// A node without the store of a repository leaves it to others, and serves all else.
func TestStoreThatIsMissing(t *testing.T) {
	t.Parallel()
	s := newShelves(t)
	d := s.push("a/x", "layer")
	s.push("b/x", "other")
	delete(s.stores, "/a")
	s.restart()
	for _, c := range []call{
		{method: http.MethodGet, path: "/v2/a/x/blobs/" + d},
		{method: http.MethodPost, path: "/v2/a/x/blobs/uploads/"},
		{method: http.MethodPost, path: "/v2/a/new/blobs/uploads/?mount=" + d},
		{method: http.MethodPut, path: "/v2/a/x/manifests/v1", header: []string{"Content-Type: " + typeIndex}, body: `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`},
	} {
		if r := s.must(http.StatusServiceUnavailable, c); r.Header().Get("Retry-After") == "" || !strings.Contains(r.Body.String(), "/a") {
			t.Errorf("%s %s: %s", c.method, c.path, r.Body)
		}
	}
	s.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/b/x/blobs/" + digest.FromString("other").String()})
	s.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/x/blobs/" + d})
}

// filled is a store on a disk that is full.
type filled struct{ *memory.Store }

func (filled) Usage(context.Context) (blobstore.Usage, error) {
	return blobstore.Usage{Total: 100, Free: 10}, nil
}

// A store whose disk is full takes no pushes, and the others do; but for that of the default store, which has the state
// of the node.
func TestRoomOfEachStore(t *testing.T) {
	t.Parallel()
	for full, want := range map[string]map[string]int{
		"/a":             {"a/x": http.StatusInsufficientStorage, "b/x": http.StatusCreated},
		fsm.DefaultStore: {"a/x": http.StatusInsufficientStorage, "b/x": http.StatusInsufficientStorage},
	} {
		s := newShelves(t)
		s.stores[full] = api.Store{Name: full, Blobs: filled{s.memory[full]}}
		s.restart()
		for repository, status := range want {
			s.must(status, call{method: http.MethodPost, path: "/v2/" + repository + "/blobs/uploads/?digest=" + digest.FromString("x").String(), body: "x"})
			index := `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`
			s.must(status, call{method: http.MethodPut, path: "/v2/" + repository + "/manifests/v1", header: []string{"Content-Type: " + typeIndex}, body: index})
		}
	}
}

// Clients are sent elsewhere for the blobs of a store that has that, and for no other's.
func TestRedirectOfEachStore(t *testing.T) {
	t.Parallel()
	s, e := newShelves(t), &elsewhere{}
	s.stores["/a"] = api.Store{Name: "/a", Blobs: s.memory["/a"], Elsewhere: e}
	s.restart()
	s.must(http.StatusTemporaryRedirect, call{method: http.MethodGet, path: "/v2/a/x/blobs/" + s.push("a/x", "layer")})
	s.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/b/x/blobs/" + s.push("b/x", "layer")})
}
