package htpasswd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/remember"
)

// recorded is a hash of every password. It notes how it was asked.
type recorded struct {
	asked, longest atomic.Int64
	running, most  atomic.Int64
	holds          chan struct{} // closed: who is asked answers
}

func (h *recorded) matches(password string) bool {
	h.asked.Add(1)
	h.longest.Store(max(h.longest.Load(), int64(len(password))))
	h.most.Store(max(h.most.Load(), h.running.Add(1)))
	defer h.running.Add(-1)
	if h.holds != nil {
		<-h.holds
	}
	return true
}

// of is a file with one core for these hashes, of names that are their numbers.
func of(all ...hash) *File {
	f := &File{places: semaphore.NewWeighted(1 + maxWaiting), slots: semaphore.NewWeighted(1), right: remember.New[struct{}]()}
	t := &table{hashes: map[string]hash{}, texts: map[string]string{}, all: all}
	for n, h := range all {
		t.hashes[fmt.Sprint(n)] = h
	}
	f.current.Store(t)
	return f
}

// A long password is none, and makes no more work than one.
func TestLongPasswords(t *testing.T) {
	t.Parallel()
	for length, want := range map[int]error{0: nil, maxPassword: nil, maxPassword + 1: auth.ErrWrong, 64 << 10: auth.ErrWrong} {
		h := &recorded{}
		f, password := of(h), strings.Repeat("x", length)
		if _, err := f.Verify(t.Context(), "0", password); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", length, err, want)
		}
		if _, kept := f.Recall("0", password); kept != (want == nil) {
			t.Errorf("%d bytes: remembered %t", length, kept)
		}
		if _, err := f.Verify(t.Context(), "nobody", password); !errors.Is(err, auth.ErrUnknown) {
			t.Errorf("%d bytes of nobody: %v", length, err)
		}
		if h.asked.Load() != 2 || h.longest.Load() > maxPassword {
			t.Errorf("%d bytes: hashed %d times, %d bytes", length, h.asked.Load(), h.longest.Load())
		}
	}
}

// Whoever guesses with many requests at once has them neither run at once nor wait without end, and the rest is told so.
func TestManyGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &recorded{holds: make(chan struct{})}
		f := of(h)
		var all sync.WaitGroup
		var busy atomic.Int64
		gone, leave := context.WithCancel(t.Context())
		for n := range 1000 {
			ctx := t.Context()
			if n%2 == 1 {
				ctx = gone
			}
			all.Go(func() {
				if _, err := f.Verify(ctx, fmt.Sprint("nobody ", n), "guess"); errors.Is(err, errBusy) {
					busy.Add(1)
				}
			})
		}
		synctest.Wait()
		if busy.Load() != 1000-1-maxWaiting || h.running.Load() != 1 {
			t.Errorf("%d were told to come again, %d run", busy.Load(), h.running.Load())
		}
		leave() // who waits for nobody gives the place back
		synctest.Wait()
		close(h.holds)
		all.Wait()
		if h.most.Load() != 1 {
			t.Errorf("%d ran at once", h.most.Load())
		}
		if _, err := f.Verify(t.Context(), "0", "right"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// An unknown name is as slow as one of the file, each time the same, and names are as slow as different ones.
func TestStandIns(t *testing.T) {
	t.Parallel()
	one, two := &recorded{}, &recorded{}
	f := of(one, two, two, two)
	for n := range 400 {
		name, before := fmt.Sprint("nobody ", n), one.asked.Load()
		for range 2 {
			if _, err := f.Verify(t.Context(), name, "x"); !errors.Is(err, auth.ErrUnknown) {
				t.Fatal(err)
			}
		}
		if took := one.asked.Load() - before; took != 0 && took != 2 {
			t.Fatalf("%s is once as slow as one, and once as another", name)
		}
	}
	if share := one.asked.Load(); share < 100 || share > 300 || one.asked.Load()+two.asked.Load() != 800 {
		t.Errorf("of 800 %d are as slow as a quarter of the file, and %d as the rest", share, two.asked.Load())
	}
}
