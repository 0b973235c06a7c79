package ldap

import (
	"context"
	"errors"
	"sync"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
)

// idle is how long a connection is kept that nobody uses. Servers close theirs after minutes.
const idle = time.Minute

// pool has connections of the account that looks for entries, and makes those of others, which it never sees again.
type pool struct {
	mu     sync.Mutex
	dialer *dialer
	free   []*conn // the one used last is at the end; atOnce at most
	closed bool    // none is kept any more
}

// dialBy has connections made anew if the dialer is another, and reports whether it is.
func (p *pool) dialBy(d *dialer) bool {
	p.mu.Lock()
	if d.same(p.dialer) {
		p.mu.Unlock()
		return false
	}
	p.dialer = d
	old := p.free
	p.free = nil
	p.mu.Unlock()
	closeAll(old)
	return true
}

func closeAll(all []*conn) {
	for _, c := range all {
		c.close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	old := p.free
	p.free, p.closed = nil, true
	p.mu.Unlock()
	closeAll(old)
}

func (p *pool) current() *dialer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialer
}

// dial makes a connection for one who is not the account.
func (p *pool) dial(ctx context.Context) (*conn, error) { return p.current().dial(ctx) }

// search looks for entries. A connection that was idle may have been closed by the server, which shows only now.
func (p *pool) search(ctx context.Context, r *ldap.SearchRequest) (*ldap.SearchResult, error) {
	for {
		d, c := p.take()
		reused := c != nil
		if c == nil {
			var err error
			if c, err = d.dialBound(ctx); err != nil {
				return nil, err
			}
		}
		var found *ldap.SearchResult
		err := c.do(ctx, func(l *ldap.Conn) (err error) {
			found, err = l.Search(r)
			return err
		})
		if answered(err) {
			p.give(d, c)
			return found, err
		}
		c.close()
		if !reused || ctx.Err() != nil {
			return nil, err
		}
	}
}

// answered reports whether the server has said something, be it no.
func answered(err error) bool {
	said, ok := errors.AsType[*ldap.Error](err)
	return err == nil || (ok && said.ResultCode < ldap.ErrorNetwork)
}

// take returns a connection that is free and not too old, or nil, and the dialer it is of.
func (p *pool) take() (*dialer, *conn) {
	p.mu.Lock()
	var old []*conn
	defer func() { closeAll(old) }()
	defer p.mu.Unlock()
	for len(p.free) > 0 {
		last := len(p.free) - 1
		c := p.free[last]
		p.free = p.free[:last]
		if !c.IsClosing() && time.Since(c.used) < idle {
			return p.dialer, c
		}
		old = append(old, c)
	}
	return p.dialer, nil
}

// give has a connection kept, unless it is one of an earlier dialer.
func (p *pool) give(d *dialer, c *conn) {
	p.mu.Lock()
	kept := d == p.dialer && !p.closed && len(p.free) < atOnce && c.raw.SetDeadline(time.Time{}) == nil
	if kept {
		c.used = time.Now()
		p.free = append(p.free, c)
	}
	p.mu.Unlock()
	if !kept {
		c.close()
	}
}
