package auth

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// ErrTooMany is what every TooMany is.
var ErrTooMany = errors.New("too many failed logins")

// TooMany is what those are told who have given wrong passwords: nobody was asked about this one.
type TooMany struct{ Wait time.Duration }

// Error says how long to wait.
func (e *TooMany) Error() string {
	return fmt.Sprintf("%v, try again in %d s", ErrTooMany, e.Seconds())
}

// Is makes it an ErrTooMany.
func (e *TooMany) Is(target error) bool { return target == ErrTooMany }

// Seconds is the wait for who counts whole ones.
func (e *TooMany) Seconds() int { return int((e.Wait + time.Second - 1) / time.Second) }

const maxWait = time.Minute

// patience is what is taken from one before they have to wait.
type patience struct {
	wrong float64       // wrong passwords in a row; each beyond doubles the wait, which begins with a second
	leak  time.Duration // after which one is forgotten; 0: never, but by a right one
	most  int           // how many are kept track of; the one not heard of for longest is forgotten first
}

// tries counts wrong passwords, in the memory of this node alone. There are three counts, each for what the others
// let through: who guesses one account's password from one place; who guesses it from many places; who guesses one
// password of many accounts. The latter two stop nobody who has been right from the same address before: otherwise
// whoever guesses would lock out the owner.
type tries struct {
	mu        sync.Mutex
	pairs     *ledger[pair]
	accounts  *ledger[account]
	addresses *ledger[netip.Addr]
}

// account is a name by its hash, so that the longest takes no more room than any.
type account [sha256.Size]byte

// pair is an account that is tried from an address.
type pair struct {
	account account
	address netip.Addr
}

func newTries() *tries {
	return &tries{
		pairs:     newLedger[pair](patience{wrong: 5, most: 65_536}),
		accounts:  newLedger[account](patience{wrong: 20, leak: time.Minute, most: 16_384}),
		addresses: newLedger[netip.Addr](patience{wrong: 50, leak: 10 * time.Second, most: 16_384}),
	}
}

// pairOf folds what is one to a method or to whoever has it: an LDAP server overlooks case and spaces, and a network
// of IPv6 is one customer's.
func pairOf(name string, from netip.Addr) pair {
	if from.Is6() {
		prefix, _ := from.Prefix(64) // fails for more bits than there are
		from = prefix.Addr()
	}
	return pair{sha256.Sum256([]byte(strings.ToLower(strings.Join(strings.Fields(name), " ")))), from}
}

// may fails with a TooMany if one has to wait.
func (t *tries) may(p pair) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.judge(p, time.Now())
}

func (t *tries) judge(p pair, now time.Time) error {
	wait := t.pairs.wait(p, now)
	if !t.pairs.knows(p) {
		wait = max(wait, t.accounts.wait(p.account, now), t.addresses.wait(p.address, now))
	}
	if wait > 0 {
		return &TooMany{wait}
	}
	return nil
}

// begin is may before a password is tried. Until it has ended it counts as wrong for the account, so that no more are
// tried at once than one after the other; many accounts of one address may well be tried at once.
func (t *tries) begin(p pair) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.judge(p, time.Now()); err != nil {
		return err
	}
	t.pairs.of(p).trying++
	t.accounts.of(p.account).trying++
	return nil
}

// was says that one was right who need not have tried.
func (t *tries) was(p pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.right(p)
}

func (t *tries) right(p pair) {
	r := t.pairs.of(p)
	r.known, r.wrongs, r.until = true, 0, time.Time{}
}

// outcome is how a try has ended.
type outcome int

const (
	correct outcome = iota
	wrong
	// undecided is a try that nobody could judge. It counts for the pair alone, and no more than to slow it down: else
	// each password could be tried at one method while another is out of reach, or its return found all locked out.
	undecided
)

// end says how a try has ended that has begun.
func (t *tries) end(p pair, o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.pairs.ended(p)
	t.accounts.ended(p.account)
	switch o {
	case correct:
		t.right(p)
	case wrong:
		t.pairs.wrong(p, now)
		t.accounts.wrong(p.account, now)
		t.addresses.wrong(p.address, now)
	case undecided:
		t.pairs.undecided(p, now)
	}
}

// record is what a ledger has of one.
type record struct {
	wrongs float64
	last   time.Time // when wrongs was right
	until  time.Time // the next may not be tried before
	trying int
	known  bool // has been right
}

// ledger has records of the latest ones.
type ledger[K comparable] struct {
	patience patience
	order    *list.List // of line[K], the latest first
	lines    map[K]*list.Element
}

type line[K comparable] struct {
	key    K
	record record
}

func newLedger[K comparable](p patience) *ledger[K] {
	return &ledger[K]{patience: p, order: list.New(), lines: map[K]*list.Element{}}
}

// find is nil for one that nothing is known of.
func (l *ledger[K]) find(key K) *record {
	if e := l.lines[key]; e != nil {
		return &e.Value.(*line[K]).record
	}
	return nil
}

// of makes a record for one that has none.
func (l *ledger[K]) of(key K) *record {
	if e := l.lines[key]; e != nil {
		l.order.MoveToFront(e)
		return l.find(key)
	}
	if l.order.Len() >= l.patience.most {
		oldest := l.order.Back()
		delete(l.lines, oldest.Value.(*line[K]).key)
		l.order.Remove(oldest)
	}
	l.lines[key] = l.order.PushFront(&line[K]{key: key})
	return l.find(key)
}

func (l *ledger[K]) knows(key K) bool {
	r := l.find(key)
	return r != nil && r.known
}

// wait is how long one has to.
func (l *ledger[K]) wait(key K, now time.Time) time.Duration {
	r := l.find(key)
	switch {
	case r == nil:
		return 0
	case now.Before(r.until):
		return r.until.Sub(now)
	case r.trying > 0 && l.leaked(r, now)+float64(r.trying) >= l.patience.wrong:
		return time.Second
	}
	return 0
}

// leaked is how many wrong passwords are not forgotten yet.
func (l *ledger[K]) leaked(r *record, now time.Time) float64 {
	if l.patience.leak == 0 {
		return r.wrongs
	}
	return max(0, r.wrongs-float64(now.Sub(r.last))/float64(l.patience.leak))
}

func (l *ledger[K]) ended(key K) {
	if r := l.find(key); r != nil { // it may have been forgotten meanwhile
		r.trying = max(0, r.trying-1)
	}
}

func (l *ledger[K]) wrong(key K, now time.Time) {
	r := l.of(key)
	r.wrongs, r.last = l.leaked(r, now)+1, now
	r.until = now.Add(l.delay(r.wrongs))
}

func (l *ledger[K]) undecided(key K, now time.Time) {
	r := l.of(key)
	if r.wrongs < l.patience.wrong {
		r.wrongs, r.last = r.wrongs+1, now
	}
	r.until = now.Add(min(l.delay(r.wrongs), time.Second))
}

func (l *ledger[K]) delay(wrongs float64) time.Duration {
	wait := time.Duration(0)
	for beyond := l.patience.wrong; beyond <= wrongs && wait < maxWait; beyond++ {
		wait = max(time.Second, 2*wait)
	}
	return min(wait, maxWait)
}
