package ldap

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// failures in a row, after which a server is left alone.
const failures = 3

var errResting = errors.New("LDAP server did not answer lately")

// breaker keeps those who log in from waiting for a server that does not answer, one after the other.
type breaker struct {
	rest time.Duration // for which a server is left alone; then one may try
	log  hclog.Logger

	mu     sync.Mutex
	failed int // in a row
	until  time.Time
	last   error
}

// begin fails if the server is left alone.
func (b *breaker) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < failures {
		return nil
	}
	if now := time.Now(); now.Before(b.until) {
		return fmt.Errorf("%w: %w", errResting, b.last)
	}
	b.until = time.Now().Add(3 * b.rest) // this one tries, for all others, and has two thirds of that
	return nil
}

// end says how it went. The log has what changes: not each who could not log in.
func (b *breaker) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		if b.failed >= failures {
			b.log.Info("LDAP server answers again")
		}
		b.failed, b.last = 0, nil
		return
	}
	b.failed++
	b.last, b.until = err, time.Now().Add(b.rest)
	if b.failed == failures {
		b.log.Warn("LDAP server is out of use, names and passwords are looked for elsewhere", "error", err)
	}
}
