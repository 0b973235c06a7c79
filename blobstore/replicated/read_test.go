package replicated_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

const chunk = blobstore.ChunkSize

// onNodes puts a blob on some of the nodes, as its pusher did long ago.
func (c *nodes) onNodes(t testing.TB, p []byte, on ...int) blobstore.Blob {
	t.Helper()
	b := blobOf(p, nil)
	for _, i := range on {
		id := upload(t, c.all[i].local, "put", p)
		b.Locations = append(b.Locations, finish(t, c.all[i].local, id, p).Locations...)
	}
	return b
}

// ways are the ways to read a stream.
func ways() map[string]func(blobstore.Reader) ([]byte, error) {
	return map[string]func(blobstore.Reader) ([]byte, error){
		"read": func(r blobstore.Reader) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{r}) },
		"write": func(r blobstore.Reader) ([]byte, error) {
			var out bytes.Buffer
			_, err := r.WriteTo(&out)
			return out.Bytes(), err
		},
	}
}

// after puts a handler before that of a node that does something when so many bytes of a blob have been sent.
func (n *node) after(bytes int, do func()) {
	n.wrap(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&counting{ResponseWriter: w, left: bytes, do: do}, r)
		})
	})
}

// counting does something when some bytes were written.
type counting struct {
	http.ResponseWriter
	left int
	do   func()
}

// Write writes.
func (c *counting) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 && c.do != nil {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		c.do()
		c.do = nil
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func TestAStreamGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	const size = 7*chunk + 99
	p := storetest.Bytes(1, size)
	for name, c := range map[string]struct {
		on    []int
		spoil func(t *testing.T, n *nodes, b blobstore.Blob) // once
		each  func(n *node)                                  // for each stream, what node 1 does
	}{
		"dead at once":    {on: []int{1, 2}, each: (*node).cut},
		"hung at once":    {on: []int{1, 2}, each: (*node).freeze},
		"died on the way": {on: []int{1, 2}, each: func(n *node) { n.after(3*chunk, n.cut) }},
		"hung on the way": {on: []int{1, 2}, each: func(n *node) { n.after(3*chunk, n.freeze) }},
		"damaged there": {on: []int{1, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			flip(t, n.all[1].copyPath(b.Locations[0].Copy), 4*chunk+5)
		}},
		"damaged there at once": {on: []int{1, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			flip(t, n.all[1].copyPath(b.Locations[0].Copy), 5)
		}},
		"gone there": {on: []int{1, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			must(t, n.all[1].local.RemoveCopies(t.Context(), b.Locations[0].Copy))
		}},
		"damaged here": {on: []int{0, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			flip(t, n.all[0].copyPath(b.Locations[0].Copy), 4*chunk+5)
		}},
		"damaged here at once": {on: []int{0, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			flip(t, n.all[0].copyPath(b.Locations[0].Copy), 5)
		}},
		"shorter here": {on: []int{0, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			must(t, os.Chmod(n.all[0].copyPath(b.Locations[0].Copy), 0o600))
			must(t, os.Truncate(n.all[0].copyPath(b.Locations[0].Copy), 5*chunk))
		}},
		"gone here": {on: []int{0, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			must(t, n.all[0].local.RemoveCopies(t.Context(), b.Locations[0].Copy))
		}},
		"each good for a part": {on: []int{0, 1, 2}, spoil: func(t *testing.T, n *nodes, b blobstore.Blob) {
			flip(t, n.all[0].copyPath(b.Locations[0].Copy), 2*chunk+5)
			flip(t, n.all[1].copyPath(b.Locations[1].Copy), 5*chunk+5)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timing := calm()
			timing.Poll = time.Hour // nobody is found dead before he is asked
			if strings.HasPrefix(name, "hung") {
				timing.FirstByte, timing.Silence = 2*time.Second, 2*time.Second // but not for a node that is only slow
			}
			n := start(t, options{count: 3, replicas: 3, need: 2, timing: timing, onDisk: true})
			b := n.onNodes(t, p, c.on...)
			if c.spoil != nil {
				c.spoil(t, n, b)
			}
			for _, read := range ways() {
				for _, span := range [][2]int64{{0, -1}, {7, size - 8}, {0, -1}, {7, -1}} { // which source comes first is chance
					if c.each != nil {
						n.all[1].reset()
						n.all[0].store.Poll(t.Context())
						c.each(n.all[1])
					}
					want := p[span[0]:]
					if span[1] >= 0 {
						want = want[:span[1]]
					}
					r, err := n.all[0].store.Open(t.Context(), b, span[0], span[1])
					must(t, err)
					have, err := read(r)
					must(t, errors.Join(err, r.Close()))
					if !bytes.Equal(have, want) {
						t.Fatalf("read %d bytes, not the %d that are there", len(have), len(want))
					}
				}
			}
		})
	}
}

// A source that broke off serves again when others have brought the stream further.
func TestAStreamSurvivesAnyNumberOfShortFailures(t *testing.T) {
	t.Parallel()
	p := storetest.Bytes(1, 12*chunk)
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	b := n.onNodes(t, p, 1, 2)
	for _, holder := range n.all[1:] {
		holder.wrap(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(&counting{ResponseWriter: w, left: 2 * chunk, do: func() { panic(http.ErrAbortHandler) }}, r)
			})
		})
	}
	for way, read := range ways() {
		r, err := n.all[0].store.Open(t.Context(), b, 0, -1)
		must(t, err)
		have, err := read(r)
		must(t, errors.Join(err, r.Close()))
		if !bytes.Equal(have, p) {
			t.Errorf("%s: read %d bytes that are not those", way, len(have))
		}
	}
}

// lying is a node that sends other bytes than it should.
func (n *node) lying(at int) {
	n.wrap(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&changing{ResponseWriter: w, at: at}, r)
		})
	})
}

type changing struct {
	http.ResponseWriter
	at int
}

// Write flips a bit.
func (c *changing) Write(p []byte) (int, error) {
	if c.at >= 0 && c.at < len(p) {
		p = bytes.Clone(p)
		p[c.at] ^= 1
	}
	c.at -= len(p)
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c *changing) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func TestAWholeBlobWithWrongBytesNeverEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size, at int
		served   bool // by the other holder
	}{
		"one chunk":         {small, 17, true},
		"a whole chunk":     {chunk, chunk - 1, true},
		"the first of many": {3*chunk + 5, 17, false},
		"the last of many":  {3*chunk + 5, 3*chunk + 1, false},
		"whole chunks":      {3 * chunk, 3*chunk - 1, false},
	} {
		for way, read := range ways() {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
				p := storetest.Bytes(1, c.size)
				b := n.onNodes(t, p, 1, 2)
				n.all[1].lying(c.at)
				if !c.served {
					n.all[2].lying(c.at)
				}
				for range 3 { // which source comes first is chance
					r, err := n.all[0].store.Open(t.Context(), b, 0, -1)
					must(t, err)
					have, err := read(r)
					must(t, r.Close())
					switch {
					case c.served && (err != nil || !bytes.Equal(have, p)):
						t.Errorf("read %d bytes, %v", len(have), err)
					case !c.served && (!errors.Is(err, blobstore.ErrCopyDamaged) || errors.Is(err, io.EOF)):
						t.Errorf("error is %v", err)
					case !c.served && len(have) > (c.size-1)/chunk*chunk:
						t.Errorf("%d of %d bytes were handed on", len(have), c.size)
					}
				}
			})
		}
	}
}

func TestWhatIsSaidWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	type holder func(t *testing.T, n *node, id blobstore.CopyID)
	dead := func(_ *testing.T, n *node, _ blobstore.CopyID) { n.cut() }
	gone := func(t *testing.T, n *node, id blobstore.CopyID) { must(t, n.local.RemoveCopies(t.Context(), id)) }
	damaged := func(t *testing.T, n *node, id blobstore.CopyID) { must(t, n.local.(*memory.Store).Damage(id, 3)) }
	closed := func(t *testing.T, n *node, _ blobstore.CopyID) { must(t, n.local.Close()) }
	for name, c := range map[string]struct {
		holders []holder // of node 1 and 2
		more    []blobstore.Location
		want    error
		not     []error
	}{
		"all gone":               {[]holder{gone, gone}, nil, blobstore.ErrCopyUnknown, []error{blobstore.ErrUnreachable}},
		"gone, and node unknown": {[]holder{gone}, []blobstore.Location{{Incarnation: blobstore.Incarnation{0xfe}}}, blobstore.ErrCopyUnknown, nil},
		"gone here and there":    {[]holder{gone}, []blobstore.Location{{Incarnation: blobstore.Incarnation{1}}}, blobstore.ErrCopyUnknown, nil},
		"one gone, one dead":     {[]holder{gone, dead}, nil, blobstore.ErrUnreachable, []error{blobstore.ErrCopyUnknown}},
		"all dead":               {[]holder{dead, dead}, nil, blobstore.ErrUnreachable, []error{blobstore.ErrCopyUnknown, blobstore.ErrCopyDamaged}},
		"all damaged":            {[]holder{damaged, damaged}, nil, blobstore.ErrCopyDamaged, []error{blobstore.ErrUnreachable}},
		"one damaged, one dead":  {[]holder{damaged, dead}, nil, blobstore.ErrCopyDamaged, nil},
		"one damaged, one gone":  {[]holder{damaged, gone}, nil, blobstore.ErrUnreachable, []error{blobstore.ErrCopyUnknown, blobstore.ErrCopyDamaged}},
		"one closed, one gone":   {[]holder{closed, gone}, nil, blobstore.ErrUnreachable, []error{blobstore.ErrCopyUnknown}},
		"no holder":              {nil, nil, blobstore.ErrCopyUnknown, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
			on := []int{1, 2}[:len(c.holders)]
			p := storetest.Bytes(1, small)
			b := n.onNodes(t, p, on...)
			for i, spoil := range c.holders {
				spoil(t, n.all[i+1], b.Locations[i].Copy)
			}
			b.Locations = append(b.Locations, c.more...)
			_, err := n.all[0].store.Open(t.Context(), b, 0, -1)
			if !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			for _, not := range c.not {
				if errors.Is(err, not) {
					t.Errorf("error %v is %v", err, not)
				}
			}
		})
	}
}

// A destination's error is no source's: nobody else is asked.
func TestAClientThatGoesEndsTheStream(t *testing.T) {
	t.Parallel()
	gone := errors.New("client is gone")
	for name, on := range map[string][]int{"own": {0, 1}, "elsewhere": {1, 2}} {
		for kind, w := range map[string]io.Writer{
			"plain": writerFunc(func([]byte) (int, error) { return 0, gone }),
			"short": writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil }),
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm(), onDisk: true})
				b := n.onNodes(t, storetest.Bytes(1, 3*chunk), on...)
				for _, holder := range n.all {
					holder.requests()
				}
				r, err := n.all[0].store.Open(t.Context(), b, 1, -1)
				must(t, err)
				if _, err := r.WriteTo(w); !errors.Is(err, gone) && !errors.Is(err, io.ErrShortWrite) {
					t.Errorf("error is %v", err)
				}
				must(t, r.Close())
				asked := 0
				for _, holder := range n.all {
					asked += len(holder.requests())
				}
				if want := map[string]int{"own": 0, "elsewhere": 1}[name]; asked != want {
					t.Errorf("%d requests, want %d", asked, want)
				}
			})
		}
	}
}

type writerFunc func(p []byte) (int, error)

// Write calls the function.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTheContextEndsAStream(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 3, replicas: 3, need: 2, timing: calm()})
	b := n.onNodes(t, storetest.Bytes(1, 5*chunk), 1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := n.all[0].store.Open(ctx, b, 1, -1)
	must(t, err)
	n.all[1].freeze()
	n.all[2].freeze()
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	must(t, r.Close())
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("a closed stream gives bytes")
	}
	if !n.all[0].store.Reachable(n.all[1].member.Incarnation) {
		t.Error("a client that went is taken for a node that did")
	}
}

func TestWhatIsMissingIsSaidByNew(t *testing.T) {
	t.Parallel()
	n := start(t, options{count: 1, replicas: 1, need: 1})
	good := replicated.Config{Name: storeName, Local: n.all[0].local, Members: n.all[0], Transport: n.transport}
	for _, spoil := range []func(*replicated.Config){
		func(c *replicated.Config) { c.Local = nil },
		func(c *replicated.Config) { c.Members = nil },
		func(c *replicated.Config) { c.Transport = nil },
	} {
		c := good
		spoil(&c)
		if _, err := replicated.New(c); err == nil {
			t.Error("a store is made of nothing")
		}
	}
}
