package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// ask has another node answer a request that reads, if that node can tell and begins to do so in time.
//
// It returns errAnswered, or an error with which nothing is answered.
func (g *Registry) ask(w *answer, r *http.Request, to blobstore.Incarnation, limit time.Duration) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	t := time.AfterFunc(limit, cancel)
	defer t.Stop()
	out := &reply{w: w, header: http.Header{}, inTime: t.Stop}
	err := g.forward(w, out, r.WithContext(ctx), to)
	if errors.Is(err, errAnswered) && !out.passed {
		w.introduce()
		return fmt.Errorf("node %s cannot tell: status %d", to, out.status)
	}
	return err
}

// askOthers has one of the other nodes answer what this one, without a quorum, does not find: what was pushed to
// them may not have come here. They are as blind to the newest state, but what one has is there.
//
// It returns errAnswered, or missing if nobody can tell.
func (g *Registry) askOthers(w *answer, r *http.Request, missing error) error {
	if g.peers == nil || w.forwarded || g.config.LocalReads || meaningOf(missing).status != http.StatusNotFound {
		return missing
	}
	all, err := g.others()
	if err != nil {
		return err
	}
	for _, to := range all {
		if err := g.ask(w, r, to, patience); errors.Is(err, errAnswered) || w.begun {
			return err
		}
	}
	return missing
}

// others are the other nodes, as the state of this one knows them.
func (g *Registry) others() (all []blobstore.Incarnation, err error) {
	err = g.state.View(func(v fsm.View) error {
		for _, n := range v.Nodes() {
			if i := blobstore.Incarnation(n.Incarnation); i != g.self() && n.State.String() != stateDropped {
				all = append(all, i)
			}
		}
		return nil
	})
	return all, err
}

// reply lets the answer of another node through, unless that node cannot tell or comes too late: then nothing is
// written.
type reply struct {
	w      *answer
	header http.Header
	inTime func() bool
	status int
	passed bool
}

// Header is the answer's when it has begun.
func (p *reply) Header() http.Header {
	if p.passed {
		return p.w.Header()
	}
	return p.header
}

// WriteHeader begins the answer, if it says something.
func (p *reply) WriteHeader(status int) {
	if p.status != 0 || status < http.StatusOK {
		return
	}
	p.status = status
	if p.passed = p.tells() && p.inTime(); p.passed {
		p.w.Header().Del(headerConsistency) // what this node found is no part of it
		maps.Copy(p.w.Header(), p.header)
		p.w.WriteHeader(status)
	}
}

// tells reports whether the answer is better than none.
func (p *reply) tells() bool {
	missing := p.status == http.StatusNotFound && p.header.Get(headerConsistency) != ""
	return p.status < http.StatusInternalServerError && p.status != http.StatusTooManyRequests && !missing
}

// Write is the answer's, or drops what is not let through.
func (p *reply) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if !p.passed {
		return len(b), nil
	}
	return p.w.Write(b)
}
