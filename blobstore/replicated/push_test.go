package replicated_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

const (
	small = 1000
	large = 5<<20 + 12345
)

func TestABlobLiesOnAsManyNodesAsItShould(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		count, replicas, need, want int
	}{
		"three of three": {3, 3, 2, 3},
		"two of five":    {5, 2, 2, 2},
		"one of three":   {3, 1, 1, 1},
		"all there are":  {2, 3, 2, 2},
		"three of five":  {5, 3, 2, 3},
	} {
		for size, p := range map[string][]byte{"small": storetest.Bytes(1, small), "large": storetest.Bytes(2, large), "empty": nil} {
			t.Run(name+"/"+size, func(t *testing.T) {
				t.Parallel()
				n := start(t, options{count: c.count, replicas: c.replicas, need: c.need, timing: calm()})
				s := n.all[0].store
				b := finish(t, s, upload(t, s, "u", p), p)
				if on := n.holders(t, b); len(on) != c.want || len(b.Locations) != c.want || on[0] != 0 {
					t.Errorf("copies on %v, locations %v, want %d", on, b.Locations, c.want)
				}
				n.nothingLeft(t)
			})
		}
	}
}

// nothingLeft waits until no node has an upload, and no store knows of one, but for ended ones.
func (c *nodes) nothingLeft(t testing.TB) {
	t.Helper()
	eventually(t, "no upload is left", func() bool {
		for _, n := range c.all {
			for u, err := range n.local.Uploads(t.Context(), blobstore.UploadID{}) {
				if err != nil || !u.Ended {
					return false
				}
			}
			if n.store.Pushes() > 0 {
				return false
			}
		}
		return true
	})
}

func TestASmallBlobCostsEachPeerTwoRequests(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	p := storetest.Bytes(1, small)
	finish(t, n.all[0].store, upload(t, n.all[0].store, "u", p), p)
	n.nothingLeft(t)
	for _, peer := range n.all[1:] {
		seen := peer.requests()
		if len(seen) != 2 || !strings.HasPrefix(seen[0], "PATCH /store/default/uploads/") || seen[1] != "POST"+strings.TrimPrefix(seen[0], "PATCH") {
			t.Errorf("a peer was asked %q", seen)
		}
		if len(seen) > 0 && strings.Contains(seen[0], storetest.ID("u").String()) {
			t.Error("a peer knows the upload by the client's id")
		}
	}
}

func TestALargeBlobIsSentWhileItArrives(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	s, p, id := n.all[0].store, storetest.Bytes(1, large), storetest.ID("u")
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	w, done := feed(t, s, id)
	write(t, w, p[:3<<20])
	for _, peer := range n.all[1:] {
		eventually(t, "a peer has most of what is there", func() bool { return peer.most(t) >= 2<<20 })
	}
	write(t, w, p[3<<20:])
	must(t, w.Close())
	must(t, <-done)
	b := finish(t, s, id, p)
	if on := n.holders(t, b); len(on) != 3 {
		t.Errorf("copies on %v", on)
	}
	for _, peer := range n.all[1:] {
		if seen := peer.requests(); len(seen) != 2 {
			t.Errorf("a peer was asked %q", seen)
		}
	}
}

func write(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
}

// most returns how long the longest upload of a node is.
func (n *node) most(t testing.TB) (most int64) {
	for u, err := range n.local.Uploads(t.Context(), blobstore.UploadID{}) {
		must(t, err)
		most = max(most, u.Offset)
	}
	return most
}

// receivers are the nodes that an upload is being sent to.
func (c *nodes) receivers(t testing.TB) []*node {
	t.Helper()
	var all []*node
	eventually(t, "a peer gets bytes", func() bool {
		all = slices.DeleteFunc(slices.Clone(c.all[1:]), func(n *node) bool { return n.most(t) == 0 })
		return len(all) > 0
	})
	return all
}

func TestAPeerThatHangsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timing := quick()
			timing.Finish = 5 * time.Minute
			n := start(t, options{count: 3, replicas: 3, need: 2, timing: timing})
			n.all[2].freeze()
			p := storetest.Bytes(1, size)
			began := time.Now()
			b := finish(t, n.all[0].store, upload(t, n.all[0].store, "u", p), p)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %v", took)
			}
			if on := n.holders(t, b); !slices.Equal(on, []int{0, 1}) || len(b.Locations) != 2 {
				t.Errorf("copies on %v, locations %v", on, b.Locations)
			}
		})
	}
}

func TestAPeerThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*node){
		"dies":  (*node).cut,
		"hangs": (*node).freeze,
		"is full": func(n *node) {
			n.local.(*memory.Store).SetCapacity(1)
		},
		"loses the upload": func(n *node) {
			for u, err := range n.local.Uploads(context.Background(), blobstore.UploadID{}) {
				if err == nil {
					_ = n.local.RemoveUpload(context.Background(), u.ID)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timing := calm()
			timing.Stall, timing.Answer = 2*time.Second, 2*time.Second // but no third node is asked for one that is only slow
			timing.Finish = time.Minute
			n := start(t, options{count: 4, replicas: 2, need: 2, timing: timing})
			s, p, id := n.all[0].store, storetest.Bytes(1, large), storetest.ID("u")
			must(t, s.CreateUpload(t.Context(), id, "", 1))
			w, done := feed(t, s, id)
			write(t, w, p[:2<<20])
			first := n.receivers(t)[0]
			end(first)
			write(t, w, p[2<<20:])
			must(t, w.Close())
			must(t, <-done)
			b := finish(t, s, id, p)
			if on := n.holders(t, b); len(on) != 2 || len(b.Locations) != 2 {
				t.Errorf("copies on %v, locations %v", on, b.Locations)
			}
		})
	}
}

func TestAConnectionThatBreaksIsResumed(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 2, replicas: 2, need: 2, timing: calm()})
	s, p, id := n.all[0].store, storetest.Bytes(1, large), storetest.ID("u")
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	w, done := feed(t, s, id)
	write(t, w, p[:3<<20])
	eventually(t, "the peer has some", func() bool { return n.all[1].most(t) > 1<<20 })
	n.all[1].cut()
	n.all[1].revive()
	write(t, w, p[3<<20:])
	must(t, w.Close())
	must(t, <-done)
	b := finish(t, s, id, p)
	if on := n.holders(t, b); len(on) != 2 {
		t.Errorf("copies on %v", on)
	}
	seen := n.all[1].requests()
	made := map[string]bool{}
	for _, r := range seen {
		made[strings.Fields(r)[1]] = true
	}
	if len(made) != 1 || len(seen) < 4 || !strings.HasPrefix(seen[1], "GET ") {
		t.Errorf("the peer was asked %q", seen)
	}
}

func TestTooFewCopiesNowAreEnoughLater(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timing := calm()
			timing.Finish, timing.Retry = 300*time.Millisecond, 20*time.Millisecond
			n := start(t, options{count: 3, replicas: 3, need: 2, timing: timing})
			n.all[1].cut()
			n.all[2].cut()
			p := storetest.Bytes(1, size)
			s, id := n.all[0].store, upload(t, n.all[0].store, "u", p)
			if _, err := s.Finish(t.Context(), id, digest.FromBytes(p)); !errors.Is(err, blobstore.ErrTooFewCopies) {
				t.Fatalf("finish: %v", err)
			}
			if _, err := s.Publish(t.Context(), id); !errors.Is(err, blobstore.ErrUploadNotFinished) {
				t.Fatalf("publish: %v", err)
			}
			if u, err := s.Upload(t.Context(), id); err != nil || u.Offset != int64(size) {
				t.Fatalf("upload is %+v, %v", u, err)
			}
			n.all[1].revive()
			n.all[2].revive()
			n.poll(t)
			var b blobstore.Blob
			eventually(t, "enough copies", func() bool {
				if _, err := s.Finish(t.Context(), id, digest.FromBytes(p)); err != nil {
					return false
				}
				at, err := s.Publish(t.Context(), id)
				b = blobOf(p, at)
				return err == nil
			})
			if on := n.holders(t, b); len(on) < 2 || len(on) != len(b.Locations) {
				t.Errorf("copies on %v, locations %v", on, b.Locations)
			}
			must(t, s.EndUpload(t.Context(), id, 1))
			n.nothingLeft(t)
		})
	}
}

func TestPublishSaysWhatIsTrueAlthoughItIsTooLittle(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 2, replicas: 2, need: 2, timing: calm()})
	p := storetest.Bytes(1, small)
	s, id := n.all[0].store, upload(t, n.all[0].store, "u", p)
	if _, err := s.Finish(t.Context(), id, digest.FromBytes(p)); err != nil {
		t.Fatal(err)
	}
	n.all[1].cut()
	at, err := s.Publish(t.Context(), id)
	if !errors.Is(err, blobstore.ErrTooFewCopies) || len(at) != 1 || at[0].Incarnation != s.Incarnation() {
		t.Fatalf("published %v, %v", at, err)
	}
	n.all[1].revive()
	n.poll(t)
	b := finish(t, s, id, p)
	if on := n.holders(t, b); len(on) != 2 || b.Locations[0].Copy == at[0].Copy {
		t.Errorf("copies on %v, locations %v after %v", on, b.Locations, at)
	}
}

// A peer that got other bytes than were sent says so, and does not count.
func TestBytesThatChangeOnTheWayDoNotCount(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options{count: 3, replicas: 2, need: 2, timing: calm()})
			n.all[1].wrap(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.Body = &flipping{ReadCloser: r.Body}
					h.ServeHTTP(w, r)
				})
			})
			p := storetest.Bytes(1, size)
			for i := range 4 { // to which peer they go is chance
				id := upload(t, n.all[0].store, string(rune('a'+i)), p)
				b := finish(t, n.all[0].store, id, p)
				if on := n.holders(t, b); !slices.Equal(on, []int{0, 2}) || len(b.Locations) != 2 {
					t.Errorf("copies on %v, locations %v", on, b.Locations)
				}
			}
			n.nothingLeft(t)
		})
	}
}

// flipping flips a bit of the first byte that it reads.
type flipping struct {
	io.ReadCloser
	done bool
}

// Read reads.
func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[0] ^= 1
		f.done = true
	}
	return n, err
}

func TestAWrongDigestCostsNothingThatWasSent(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 3, timing: calm()})
	p := storetest.Bytes(1, large)
	s, id := n.all[0].store, upload(t, n.all[0].store, "u", p[:4<<20])
	if _, err := s.Finish(t.Context(), id, digest.FromBytes(p)); !errors.Is(err, blobstore.ErrDigestMismatch) {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), id, 4<<20, bytes.NewReader(p[4<<20:]), 1); err != nil {
		t.Fatal(err)
	}
	b := finish(t, s, id, p)
	if on := n.holders(t, b); len(on) != 3 {
		t.Errorf("copies on %v", on)
	}
	for _, peer := range n.all[1:] {
		made := map[string]bool{}
		for _, r := range peer.requests() {
			made[strings.Fields(r)[1]] = true
		}
		if len(made) != 1 {
			t.Errorf("a peer had uploads %v", made)
		}
	}
}

func TestZonesComeFirstThenRoom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zones    []string
		capacity []int64
		replicas int
		want     []int
	}{
		"another zone":                     {[]string{"a", "a", "b"}, []int64{1 << 30, 1 << 30, 1 << 29}, 2, []int{0, 2}},
		"three zones":                      {[]string{"a", "a", "b", "b", "c"}, []int64{1 << 30, 1 << 30, 1 << 30, 1 << 29, 1 << 29}, 3, []int{0, 2, 4}},
		"no zone is like no other":         {[]string{"a", "a", ""}, []int64{1 << 30, 1 << 30, 1 << 29}, 2, []int{0, 2}},
		"most room":                        {nil, []int64{1 << 30, 1 << 28, 1 << 29}, 2, []int{0, 2}},
		"the same zone is better than one": {[]string{"a", "a"}, []int64{1 << 30, 1 << 30}, 2, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options{count: len(c.capacity), replicas: c.replicas, need: 2, zones: c.zones, timing: calm()})
			for i, bytes := range c.capacity {
				n.all[i].local.(*memory.Store).SetCapacity(bytes)
			}
			n.poll(t)
			p := storetest.Bytes(1, small)
			b := finish(t, n.all[0].store, upload(t, n.all[0].store, "u", p), p)
			if on := n.holders(t, b); !slices.Equal(on, c.want) {
				t.Errorf("copies on %v, want %v", on, c.want)
			}
		})
	}
}

func TestANodeWhoseCopyDoesNotCountMakesNone(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 2, need: 2, timing: calm()})
	n.mu.Lock()
	n.membership.Counts = false // true of the first alone, but no other node uploads here
	n.mu.Unlock()
	p := storetest.Bytes(1, small)
	b := finish(t, n.all[0].store, upload(t, n.all[0].store, "u", p), p)
	if on := n.holders(t, b); !slices.Equal(on, []int{1, 2}) {
		t.Errorf("copies on %v", on)
	}
}

// drain marks nodes as ones to be emptied.
func (c *nodes) drain(which ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range which {
		c.all[n].member.Draining = true
		for i := range c.membership.Others {
			if c.membership.Others[i].Incarnation == c.all[n].member.Incarnation {
				c.membership.Others[i].Draining = true
			}
		}
	}
}

// A push through any node, also one that is to be emptied, goes to the others while they can take it.
func TestANodeToBeEmptiedGetsNoCopies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		draining, down []int
		replicas       int
		want           []int
	}{
		"it takes none":                   {[]int{0}, nil, 2, []int{1, 2, 3}},
		"also with more replicas":         {[]int{0}, nil, 3, []int{1, 2, 3}},
		"rather too few replicas":         {[]int{0}, nil, 4, []int{1, 2, 3}},
		"two of four":                     {[]int{0, 1}, nil, 3, []int{2, 3}},
		"but one in need":                 {[]int{0}, []int{2, 3}, 2, []int{0, 1}},
		"two in need":                     {[]int{0, 1}, []int{2, 3}, 3, []int{0, 1}},
		"all of them":                     {[]int{0, 1, 2, 3}, nil, 2, []int{0, 1, 2, 3}},
		"in need, of those that are left": {[]int{0, 1}, []int{2}, 3, []int{0, 1, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options{count: 4, replicas: c.replicas, need: 2, timing: calm()})
			n.drain(c.draining...)
			for _, down := range c.down {
				n.all[down].cut()
			}
			n.poll(t)
			for via := range n.all {
				if slices.Contains(c.down, via) {
					continue
				}
				p := storetest.Bytes(via, large)
				s := n.all[via].store
				b := finish(t, s, upload(t, s, "u", p), p)
				on := n.holders(t, b)
				if len(on) < 2 || len(on) > c.replicas || slices.ContainsFunc(on, func(i int) bool { return !slices.Contains(c.want, i) }) {
					t.Errorf("through %d: copies on %v, want of %v", via, on, c.want)
				}
				if len(on) != len(b.Locations) {
					t.Errorf("through %d: copies on %v, locations %v", via, on, b.Locations)
				}
			}
		})
	}
}

// Others come back between Finish and Publish: what was finished without them is enough.
func TestANodeToBeEmptiedMakesTheCopyThatFinishCountedOn(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 2, need: 2, timing: calm()})
	n.drain(0)
	n.all[2].cut()
	n.poll(t)
	s, p := n.all[0].store, storetest.Bytes(1, small)
	id := upload(t, s, "u", p)
	_, err := s.Finish(t.Context(), id, digest.FromBytes(p))
	must(t, err)
	n.all[2].revive()
	n.poll(t)
	at, err := s.Publish(t.Context(), id)
	must(t, err)
	if on := n.holders(t, blobOf(p, at)); !slices.Equal(on, []int{0, 1}) {
		t.Errorf("copies on %v", on)
	}
}

func TestAnUploadThatIsGivenUpLeavesNothingAtPeers(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*replicated.Store, context.Context, blobstore.UploadID) error{
		"ended": func(s *replicated.Store, ctx context.Context, id blobstore.UploadID) error {
			return s.EndUpload(ctx, id, 1)
		},
		"removed": (*replicated.Store).RemoveUpload,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
			s, id := n.all[0].store, storetest.ID("u")
			must(t, s.CreateUpload(t.Context(), id, digest.SHA512, 1))
			w, done := feed(t, s, id)
			write(t, w, storetest.Bytes(1, 3<<20))
			// A peer that has not begun to answer may be told to remove what it then begins: its sweeper finds that.
			eventually(t, "both peers get bytes", func() bool { return n.all[1].most(t) > 0 && n.all[2].most(t) > 0 })
			must(t, end(s, t.Context(), id))
			_ = w.Close()
			if err := <-done; !errors.Is(err, blobstore.ErrUploadEnded) && err != nil {
				t.Errorf("append: %v", err)
			}
			n.nothingLeft(t)
		})
	}
}

func TestTheNextProcessGoesOn(t *testing.T) {
	t.Parallel()
	o := options{count: 3, replicas: 3, need: 2, timing: calm(), onDisk: true}
	n := start(t, o)
	owner, p := n.all[0], storetest.Bytes(1, large)
	id := upload(t, owner.store, "u", p[:3<<20])
	n.receivers(t)
	owner.stop()
	owner.local = openDisk(t, owner)
	owner.open(t, o)
	u, err := owner.store.Upload(t.Context(), id)
	if err != nil || u.Offset != 3<<20 {
		t.Fatalf("upload is %+v, %v", u, err)
	}
	owner.store.Poll(t.Context())
	if _, err := owner.store.Append(t.Context(), id, 3<<20, bytes.NewReader(p[3<<20:]), 1); err != nil {
		t.Fatal(err)
	}
	b := finish(t, owner.store, id, p)
	if on := n.holders(t, b); len(on) != 3 {
		t.Errorf("copies on %v", on)
	}
}

func TestNothingIsSentWhileNobodyRunsTheStore(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, idle: true})
	p := storetest.Bytes(1, large)
	s, id := n.all[0].store, upload(t, n.all[0].store, "u", p)
	if _, err := s.Finish(t.Context(), id, digest.FromBytes(p)); !errors.Is(err, blobstore.ErrTooFewCopies) {
		t.Fatalf("finish: %v", err)
	}
	must(t, s.RemoveUpload(t.Context(), id))
	for _, peer := range n.all[1:] {
		if seen := peer.requests(); len(seen) != 0 {
			t.Errorf("a peer was asked %q", seen)
		}
	}
}

func TestAStoreRunsOnce(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 1, replicas: 1, need: 1})
	if err := n.all[0].store.Run(t.Context()); err == nil {
		t.Error("it runs twice")
	}
}

// A Finish that a client did not wait for is not lost.
func TestWhoeverWaitsMayGo(t *testing.T) {
	t.Parallel()
	timing := calm()
	timing.Finish = time.Minute
	n := start(t, options{count: 2, replicas: 2, need: 2, timing: timing})
	n.all[1].freeze()
	p := storetest.Bytes(1, small)
	s, id := n.all[0].store, upload(t, n.all[0].store, "u", p)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Finish(ctx, id, digest.FromBytes(p)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	n.all[1].thaw()
	b := finish(t, s, id, p)
	if on := n.holders(t, b); len(on) != 2 {
		t.Errorf("copies on %v", on)
	}
}

func TestRoomAndReach(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	s := n.all[0].store
	if s.WithRoom() != 3 || !s.Reachable(n.all[1].member.Incarnation) || !s.Reachable(s.Incarnation()) {
		t.Error("not all are there")
	}
	n.all[1].cut()
	n.all[2].local.(*memory.Store).SetCapacity(1000)
	upload(t, n.all[2].local, "u", storetest.Bytes(1, 850))
	n.poll(t)
	if s.WithRoom() != 1 || s.Reachable(n.all[1].member.Incarnation) || !s.Reachable(n.all[2].member.Incarnation) {
		t.Errorf("%d have room", s.WithRoom())
	}
	if s.Reachable(blobstore.Incarnation{0xfe}) {
		t.Error("nobody is there")
	}
	for i, want := range map[blobstore.Incarnation]bool{s.Incarnation(): true, n.all[2].member.Incarnation: false, {0xfe}: false} {
		if u, room := s.UsageOf(i); room != want || room && u.Total == 0 {
			t.Errorf("%s has room: %t, of %+v", i, room, u)
		}
	}
}

// A client that pauses holds no connection to a peer, and goes on where it was.
func TestAPauseEndsTheStreamToAPeerAndNothingElse(t *testing.T) {
	t.Parallel()
	timing := calm()
	timing.Idle = 20 * time.Millisecond
	n := start(t, options{count: 2, replicas: 2, need: 2, timing: timing})
	s, p, id := n.all[0].store, storetest.Bytes(1, large), storetest.ID("u")
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	w, done := feed(t, s, id)
	write(t, w, p[:2<<20])
	n.receivers(t)
	eventually(t, "the stream has ended", func() bool {
		for u, err := range n.all[1].local.Uploads(t.Context(), blobstore.UploadID{}) {
			return err == nil && !u.Writing
		}
		return false
	})
	write(t, w, p[2<<20:])
	must(t, w.Close())
	must(t, <-done)
	b := finish(t, s, id, p)
	if on := n.holders(t, b); len(on) != 2 {
		t.Errorf("copies on %v", on)
	}
	if seen := n.all[1].requests(); len(seen) < 3 || slices.ContainsFunc(seen, func(r string) bool { return r[:3] == "GET" }) {
		t.Errorf("the peer was asked %q", seen)
	}
}

// A push that goes through a node with room is refused as by a full one when too few others have room: at its
// beginning, in the middle and at its end, at once, and not when it is too late for the client to hear why. It goes on
// when there is room again.
func TestDisksOfOthersAreFull(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	s, id, p := n.all[0].store, storetest.ID("u"), storetest.Bytes(1, 2<<20)
	for _, other := range n.all[1:] {
		upload(t, other.local, "something else", storetest.Bytes(2, 850))
	}
	fill := func(some ...*node) {
		t.Helper()
		for _, one := range n.all[1:] {
			one.local.(*memory.Store).SetCapacity(1 << 30)
		}
		for _, one := range some {
			one.local.(*memory.Store).SetCapacity(1000)
		}
		n.poll(t)
	}
	full := func(err error) {
		t.Helper()
		if !errors.Is(err, blobstore.ErrNoSpace) || !strings.Contains(err.Error(), "the disks of 2 of the other nodes are used to 85 % or more") {
			t.Fatalf("%v", err)
		}
	}
	fill(n.all[1:]...)
	full(s.CreateUpload(t.Context(), id, "", 1))
	fill(n.all[1]) // one is enough
	must(t, s.CreateUpload(t.Context(), id, "", 1))
	fill(n.all[1:]...)
	end, err := s.Append(t.Context(), id, 0, bytes.NewReader(p), 1)
	full(err)
	if end != 0 {
		t.Errorf("%d bytes were taken", end)
	}
	fill()
	body := io.MultiReader(bytes.NewReader(p[:1<<20]), readerFunc(func([]byte) (int, error) { fill(n.all[1:]...); return 0, io.EOF }), bytes.NewReader(p[1<<20:]))
	end, err = s.Append(t.Context(), id, 0, body, 1)
	full(err)
	if end < 1<<20 || end == int64(len(p)) {
		t.Errorf("the upload ends at %d", end)
	}
	fill()
	for _, other := range n.all[1:] { // so that the end is all that they do not get
		other.cut()
	}
	_, err = s.Append(t.Context(), id, end, bytes.NewReader(p[end:]), 1)
	must(t, err)
	for _, other := range n.all[1:] {
		other.local.(*memory.Store).SetCapacity(1000) // before it is up: its sender tries again and again
		other.reset()
	}
	n.poll(t)
	_, err = s.Finish(t.Context(), id, digest.FromBytes(p))
	full(err)
	fill(n.all[2])
	if on := n.holders(t, finish(t, s, id, p)); len(on) != 2 {
		t.Errorf("copies on %v", on)
	}
}

// readerFunc is a reader of one function.
type readerFunc func([]byte) (int, error)

// Read calls it.
func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
