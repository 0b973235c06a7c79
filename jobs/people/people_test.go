package people_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/people"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is a state whose next entry is what is proposed, on a date.
type world struct {
	t     *testing.T
	state *fsm.State
	date  time.Time

	proposals int
	fails     error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	return &world{t: t, state: state, date: time.Now()}
}

func (w *world) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	w.proposals++
	if w.fails != nil {
		return entry.Result{}, w.fails
	}
	if err := w.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	at := w.state.Position()
	return w.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Millisecond), Date: w.date.UnixMilli()},
	}})[0], nil
}

func do[R any](w *world, cmd fsm.CommandOf[R]) {
	w.t.Helper()
	if _, err := fsm.Do(w.t.Context(), w, cmd); err != nil {
		w.t.Fatal(err)
	}
	w.proposals = 0
}

func (w *world) key(n int, expires time.Time) (hash fsm.SecretHash) {
	w.t.Helper()
	hash = fsm.HashSecret(fmt.Sprint(n))
	c := fsm.CreateAPIKey{Hash: hash, ID: fsm.KeyID(hash[:16]), Owner: "ann"}
	if !expires.IsZero() {
		c.Expires = expires.UnixMilli()
	}
	do(w, c)
	return hash
}

// look is what the state has of a key.
func (w *world) look(hash fsm.SecretHash) (k fsm.APIKey, known bool) {
	w.t.Helper()
	err := w.state.View(func(v fsm.View) error {
		k, known = v.APIKey(hash)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return k, known
}

func TestUsesAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uses, job, err := people.New(w)
	if err != nil {
		t.Fatal(err)
	}
	one := w.key(1, time.Time{})
	first, last := w.date.Add(-time.Hour), w.date.Add(-time.Minute)
	uses.Used(one, last)
	uses.Used(one, first)
	for n := range 400 {
		uses.Used(fsm.HashSecret(fmt.Sprint("gone", n)), last)
	}
	w.fails = errors.New("no leader")
	if err := job.Do(t.Context()); !errors.Is(err, w.fails) || w.proposals != 1 {
		t.Errorf("%v after %d proposals", err, w.proposals)
	}
	w.fails, w.proposals = nil, 0
	for _, want := range []int{2, 0} { // the second time there is nothing to note
		w.proposals = 0
		if err := job.Do(t.Context()); err != nil || w.proposals != want {
			t.Errorf("%v after %d proposals, want %d", err, w.proposals, want)
		}
		if k, _ := w.look(one); k.LastUsed != last.UnixMilli() {
			t.Errorf("last used %d, want %d", k.LastUsed, last.UnixMilli())
		}
	}
}

func TestUsesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uses, job, err := people.New(w)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 12_000 {
		uses.Used(fsm.HashSecret(fmt.Sprint(n)), w.date)
	}
	if err := job.Do(t.Context()); err != nil || w.proposals != 34 {
		t.Errorf("%v after %d proposals", err, w.proposals)
	}
}

func TestWhatIsOverGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := people.Expire(w.state, w)
	now := w.date
	w.date = now.Add(-100 * 24 * time.Hour)
	var old []fsm.SecretHash
	for n := range 310 {
		old = append(old, w.key(n, now.Add(-31*24*time.Hour)))
	}
	shown, lasting := w.key(1000, now.Add(-time.Hour)), w.key(1001, time.Time{})
	do(w, fsm.PutSession{Cookie: fsm.HashSecret("over"), Subject: "ann", Expires: now.Add(-time.Hour).UnixMilli()})
	do(w, fsm.PutSession{Cookie: fsm.HashSecret("going on"), Subject: "ann", Expires: now.Add(time.Hour).UnixMilli()})
	w.date = now
	for _, want := range []int{3, 0} { // the second time there is nothing to remove
		w.proposals = 0
		if err := job.Do(t.Context()); err != nil || w.proposals != want {
			t.Errorf("%v after %d proposals, want %d", err, w.proposals, want)
		}
	}
	for _, hash := range old {
		if _, known := w.look(hash); known {
			t.Fatal("a key is there that is over since a month")
		}
	}
	for _, hash := range []fsm.SecretHash{shown, lasting} {
		if _, known := w.look(hash); !known {
			t.Error("a key is gone before its time")
		}
	}
	err := w.state.View(func(v fsm.View) error {
		if _, known := v.Session(fsm.HashSecret("going on"), now); !known {
			t.Error("a session is gone before its time")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := people.New(nil); err == nil {
		t.Error("without a proposer uses would be counted")
	}
}
