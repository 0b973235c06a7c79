package entrance

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/seed-16d79997/zot/api"
)

// Limit is how many requests a second the cluster takes from all clients together, and from each of them.
type Limit struct {
	Method string // "": any
	Rate   int    // 1 or more
}

// LimitsConfig is what Limits goes by.
type LimitsConfig struct {
	Limits []Limit // each holds
	// Client is the address that a request comes from.
	Client func(*http.Request) netip.Addr
	// Nodes is how many nodes clients are answered by now, this one among them: each takes its share.
	Nodes func() int
	// Free reports whether a path has no limit.
	Free func(path string) bool
}

const (
	// A bucket is full again a second after its last request, and is then as good as a new one.
	forgetAfter = time.Second
	// maxClients bounds how many addresses are known at once. Any beyond that are held back together.
	maxClients = 1 << 16
)

// Limits refuses requests that are too many. Each node counts its own, in memory.
type Limits struct {
	config LimitsConfig

	mu     sync.Mutex
	limits []*limit
	nodes  int
	asked  time.Time // when nodes were so many
}

// NewLimits returns Limits.
func NewLimits(c LimitsConfig) *Limits {
	l := &Limits{config: c}
	for _, one := range c.Limits {
		l.limits = append(l.limits, &limit{Limit: one})
	}
	return l
}

// Around has next answer what is not too much.
func (l *Limits) Around(next http.Handler) http.Handler {
	if len(l.limits) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.config.Free(r.URL.Path) {
			if over, wait := l.take(r.Method, network(l.config.Client(r)), time.Now()); over != nil {
				refuse(w, r, over.Limit, wait)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// take takes a request from what its client has left of each limit, and from what all have.
//
// Of what all have, somebody who sends too many would leave nothing: he is there whenever there is something again. So those
// who have lately sent few, and have half of their own left, overdraw it, by as much as it holds; it fills up for them first.
//
// It returns the limit of which nothing is left, and until when.
func (l *Limits) take(method string, client netip.Addr, now time.Time) (over *limit, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes == 0 || now.Sub(l.asked) >= time.Second {
		l.nodes, l.asked = max(1, l.config.Nodes()), now
	}
	var own, all [8]bucket // a handful of limits needs no memory
	mine, everybodys := own[:0], all[:0]
	for _, one := range l.limits {
		if one.Method != "" && one.Method != method {
			continue
		}
		one.divide(l.nodes, now)
		b := bucket{one.of(client, now), one, 1}
		mine = append(mine, b)
		least := 1.0
		if b.TokensAt(now) >= float64(b.Burst()+1)/2 {
			least -= float64(b.Burst())
		}
		everybodys = append(everybodys, bucket{one.all, one, least})
	}
	if over, wait = empty(mine, now); over != nil {
		return over, wait
	}
	take(mine, now) // also if all have nothing left: who asks again and again does not save up
	if over, wait = empty(everybodys, now); over != nil {
		return over, wait
	}
	take(everybodys, now)
	return nil, 0
}

// take takes one from each bucket.
func take(all []bucket, now time.Time) {
	for _, b := range all {
		b.ReserveN(now, 1)
	}
}

// bucket is what is left of a limit, to one or to all.
type bucket struct {
	*rate.Limiter
	of    *limit
	least float64 // with how many one more may be taken
}

// empty returns the limit of the first bucket that is empty, if one is, and how long it is.
func empty(all []bucket, now time.Time) (over *limit, wait time.Duration) {
	for _, b := range all {
		if left := b.TokensAt(now); left < b.least {
			return b.of, max(time.Millisecond, time.Duration((b.least-left)/float64(b.Limit())*float64(time.Second)))
		}
	}
	return nil, 0
}

// refuse says how many are not too many.
func refuse(w http.ResponseWriter, r *http.Request, l Limit, wait time.Duration) {
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	h.Set("X-Rate-Limit-Limit", strconv.FormatFloat(float64(l.Rate), 'f', 2, 64))
	h.Set("X-Rate-Limit-Duration", "1") // second
	refusal := &api.Refusal{Status: http.StatusTooManyRequests, Code: "TOOMANYREQUESTS", Message: "too many requests: come again after a moment"}
	refusal.Answer(w, r)
}

// limit is a Limit with what was taken of it.
type limit struct {
	Limit

	share   float64 // this node's, in requests a second
	all     *rate.Limiter
	clients map[netip.Addr]*rate.Limiter // who has sent something since begun
	before  map[netip.Addr]*rate.Limiter // who has in the second before that, and not since
	begun   time.Time
	rest    *rate.Limiter // of whom there is no more room for
}

// divide has this node go by its share. The buckets of another share are made anew, full.
func (l *limit) divide(nodes int, now time.Time) {
	share := max(1, float64(l.Rate)/float64(nodes))
	if share == l.share {
		return
	}
	l.share = share
	l.all, l.rest = l.full(), l.full()
	l.clients, l.before, l.begun = map[netip.Addr]*rate.Limiter{}, nil, now
}

// full is a new bucket.
func (l *limit) full() *rate.Limiter { return rate.NewLimiter(rate.Limit(l.share), int(l.share)) }

// of is the bucket of a client.
func (l *limit) of(client netip.Addr, now time.Time) *rate.Limiter {
	if now.Sub(l.begun) >= forgetAfter {
		l.before = l.clients
		if now.Sub(l.begun) >= 2*forgetAfter {
			l.before = nil
		}
		l.clients, l.begun = map[netip.Addr]*rate.Limiter{}, now
	}
	if b := l.clients[client]; b != nil {
		return b
	}
	b := l.before[client]
	switch {
	case b != nil:
		delete(l.before, client)
	case len(l.clients) >= maxClients:
		return l.rest
	default:
		b = l.full()
	}
	l.clients[client] = b
	return b
}

// network is what one client has: of IPv6 addresses, as many as there are.
func network(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // fails for more bits than there are
	return p.Addr()
}
