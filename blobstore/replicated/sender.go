package replicated

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// sender brings one upload to one peer. All of it is guarded by its push's mutex.
//
// It streams what is in the local file, from where the peer is to where the file ends, and goes on as the file
// grows: one request for as long as bytes keep coming. The peer's upload has an id of its own, drawn here: a
// peer must not take it for one of a client.
type sender struct {
	to  Member
	tee blobstore.UploadID

	running   bool
	cancel    context.CancelCauseFunc // once it runs
	dismissed bool                    // it is of no more use

	begun    bool          // the peer may have something of the upload
	doubtful bool          // how much, has to be asked
	offset   int64         // how much
	sent     int64         // how much was given to the connection
	moved    time.Time     // when that last changed, or began to be too little
	finished digest.Digest // what the peer has verified and made durable

	failures int
	retry    time.Time // when it may be tried again
}

var errSlow = errors.New("peer takes the bytes too slowly")

func newSender(to Member) *sender { return &sender{to: to, tee: newTee()} }

// newTee draws the id of an upload at a peer.
func newTee() (id blobstore.UploadID) {
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	return id
}

// anew forgets what the peer has.
func (s *sender) anew() {
	s.tee, s.begun, s.doubtful, s.offset, s.sent, s.finished = newTee(), false, false, 0, 0, ""
}

// stop makes a running sender end.
func (s *sender) stop(why error) {
	if s.cancel != nil {
		s.cancel(why)
	}
}

// start lets a sender run, unless nobody would wait for it. The caller holds the mutex.
func (p *push) start(s *sender) bool {
	s.running, s.moved, s.sent = true, time.Now(), s.offset
	s.running = p.store.tasks.start(func(ctx context.Context) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if p.enter(s, cancel) {
			p.end(ctx, s, blobstore.Contain(func() error { return p.send(ctx, s) }))
		}
	})
	return s.running
}

// enter is the first that a started sender does. It returns false if it was dismissed before.
func (p *push) enter(s *sender, cancel context.CancelCauseFunc) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.cancel = cancel
	if s.dismissed {
		s.running = false
	}
	return s.running
}

// end is the last that it does.
func (p *push) end(ctx context.Context, s *sender, err error) {
	p.mu.Lock()
	s.running, s.cancel = false, nil
	dismissed, begun, tee := s.dismissed, s.begun, s.tee
	if err == nil {
		s.failures = 0
	} else if !dismissed && !errors.Is(context.Cause(ctx), context.Canceled) {
		p.failed(s, err, errors.Is(context.Cause(ctx), errSlow))
	}
	p.wake()
	p.mu.Unlock()
	if dismissed && begun {
		p.store.tidy(context.WithoutCancel(ctx), s.to.Incarnation, tee) // within a bound; Run waits for it
	}
}

// failed notes a failure. What came of it at the peer is asked before it is tried again; if the peer can do
// nothing with what it has, another upload is begun there. The caller holds the mutex.
func (p *push) failed(s *sender, err error, slow bool) {
	log := p.store.log.Debug
	if errors.Is(err, blobstore.ErrPanic) {
		log = p.store.log.Error
	}
	log("sending to a node failed", "node", s.to.Incarnation.String(), "bytes", s.sent, "slow", slow, "error", err)
	s.doubtful = true
	for _, useless := range []error{
		blobstore.ErrUploadUnknown, blobstore.ErrUploadEnded, blobstore.ErrUploadBroken, blobstore.ErrUploadFinished,
		blobstore.ErrDigestMismatch,
	} {
		if errors.Is(err, useless) {
			p.discard(s)
			s.anew()
			break
		}
	}
	s.failures++
	if s.failures > 1 { // a connection that had died of old age is tried again at once
		s.retry = time.Now().Add(p.store.timing.Retry << min(s.failures-2, 3))
	}
	if slow || s.failures > 1 && isUnreachable(err) {
		p.store.health.fails(s.to.Incarnation)
	}
}

// discard has what a peer holds of the upload removed. The caller holds the mutex.
func (p *push) discard(s *sender) {
	to, tee := s.to.Incarnation, s.tee
	if s.begun {
		p.store.tasks.start(func(ctx context.Context) { p.store.tidy(ctx, to, tee) })
	}
}

// send does all that there is to do for now, and returns when there is nothing left.
func (p *push) send(ctx context.Context, s *sender) error {
	local, err := p.store.OpenUpload(ctx, p.id)
	if err != nil {
		return err
	}
	defer func() { _ = local.Close() }() // it was only read
	if err := p.locate(ctx, s); err != nil {
		return err
	}
	for {
		step := p.next(s)
		claim := step.claim
		switch {
		case step.done:
			return nil
		case step.bytes:
			claim, err = p.stream(ctx, s, local, step)
		default:
			err = p.conclude(ctx, s, step)
		}
		if errors.Is(err, blobstore.ErrDigestMismatch) {
			err = p.blame(ctx, claim, err)
		}
		if err != nil {
			return err
		}
	}
}

// locate asks how much the peer has, if that is not known.
func (p *push) locate(ctx context.Context, s *sender) error {
	p.mu.Lock()
	doubtful, tee := s.doubtful, s.tee
	p.mu.Unlock()
	if !doubtful {
		return nil
	}
	u, err := p.store.peers.upload(ctx, s.to.Incarnation, tee)
	unknown := errors.Is(err, blobstore.ErrUploadUnknown) || errors.Is(err, blobstore.ErrUploadEnded)
	if err != nil && !unknown {
		return fmt.Errorf("ask how much a peer has: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if unknown || u.Offset > p.size || u.Finished && u.Offset != p.size {
		s.anew()
		return nil
	}
	s.doubtful, s.begun, s.offset, s.sent, s.moved = false, true, u.Offset, u.Offset, time.Now()
	return nil
}

// step is what a sender does next.
type step struct {
	done  bool // nothing
	bytes bool // send, else only finish
	tee   blobstore.UploadID
	from  int64
	hint  digest.Algorithm
	at    blobstore.Time
	want  digest.Digest
	claim int
}

// next says what a sender does next.
func (p *push) next(s *sender) step {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := step{tee: s.tee, from: s.offset, hint: p.hint, at: p.active, want: p.want, claim: p.claims}
	if t.hint == "" && p.want != "" {
		t.hint = p.want.Algorithm()
	}
	t.bytes = s.offset < p.size || !s.begun
	t.done = s.dismissed || p.gone || s.finished != "" && s.finished == p.want || !t.bytes && p.want == ""
	if t.bytes {
		s.begun = true
	}
	return t
}

// stream sends bytes until there are no more for a while, or the upload is whole, which the peer then
// verifies. It returns which claim about the whole the peer was told.
func (p *push) stream(ctx context.Context, s *sender, local io.ReaderAt, t step) (claim int, err error) {
	trailer := http.Header{digestTrailer: nil}
	body := &follower{push: p, sender: s, local: local, at: t.from, trailer: trailer, done: ctx.Done()}
	end, err := p.store.peers.append(ctx, s.to.Incarnation, stretch{
		id: t.tee, offset: t.from, hint: t.hint, at: t.at, body: body, trailer: trailer,
	})
	sent, said, claim := body.close()
	if err == nil && end != sent {
		err = fmt.Errorf("it took bytes to %d of %d", end, sent)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil || errors.Is(err, blobstore.ErrDigestMismatch) {
		s.offset = sent // it took the bytes, whatever it says that they hash to
	}
	if err != nil {
		return claim, fmt.Errorf("send to a peer: %w", err)
	}
	s.finished, s.moved = said, time.Now()
	p.wake()
	return claim, nil
}

// conclude has the peer verify an upload whose bytes it has.
func (p *push) conclude(ctx context.Context, s *sender, t step) error {
	if _, err := p.store.peers.finish(ctx, s.to.Incarnation, t.tee, t.want); err != nil {
		return fmt.Errorf("finish at a peer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.finished = t.want
	p.wake()
	return nil
}

// blame waits until this node has verified its own bytes against the claim that a peer's do not match. If they
// match, the peer's are wrong, and the error is its; else there is none yet: the client said a wrong digest, and
// may add bytes or say another.
func (p *push) blame(ctx context.Context, claim int, mismatch error) error {
	for {
		p.mu.Lock()
		stands, verified, changed := p.want != "" && p.claims == claim, p.verified != "", p.changed
		p.mu.Unlock()
		switch {
		case !stands:
			return nil
		case verified:
			return mismatch
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follower is the body of a stretch: the local file from an offset to its end, wherever that is when it gets
// there. The connection may go on reading after the peer has answered, so its fields too are guarded by the
// push's mutex.
type follower struct {
	push   *push
	sender *sender
	local  io.ReaderAt
	done   <-chan struct{}

	at      int64
	said    digest.Digest // what the trailer says
	claim   int           // and which claim that is
	trailer http.Header
	closed  bool
}

var errAnswered = errors.New("the peer has answered already")

// Read reads what is there, and waits for more. The end is the end of the whole, or of a stretch after which
// nothing came for a while. It is called by a goroutine of net/http, where nobody else would catch a panic.
func (f *follower) Read(b []byte) (n int, err error) {
	err = blobstore.Contain(func() (err error) {
		n, err = f.read(b)
		return err
	})
	return n, err
}

func (f *follower) read(b []byte) (int, error) {
	from, to, err := f.wait()
	if err != nil {
		return 0, err
	}
	n, err := f.local.ReadAt(b[:min(int64(len(b)), to-from)], from)
	f.push.mu.Lock()
	f.at += int64(n)
	f.push.mu.Unlock()
	switch {
	case n > 0:
		return n, nil
	case err == nil || err == io.EOF: //nolint:errorlint // the file is shorter than it was
		return 0, io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("read upload: %w", err)
}

// wait returns from where to where bytes can be read, or io.EOF.
func (f *follower) wait() (from, to int64, err error) {
	idle := time.NewTimer(f.push.store.timing.Idle)
	defer idle.Stop()
	for {
		from, to, changed, err := f.look()
		if err != nil || from < to {
			return from, to, err
		}
		select {
		case <-changed:
		case <-idle.C:
			return 0, 0, io.EOF
		case <-f.done:
			return 0, 0, context.Canceled
		}
	}
}

// look says where there are bytes; io.EOF if these are all. It notes the sender's progress.
func (f *follower) look() (from, to int64, changed <-chan struct{}, err error) {
	p := f.push
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.closed {
		return 0, 0, nil, errAnswered
	}
	if f.at > f.sender.sent {
		f.sender.sent, f.sender.moved = f.at, time.Now()
	}
	if p.want != "" && f.at == p.size {
		f.said, f.claim = p.want, p.claims
		f.trailer.Set(digestTrailer, p.want.String())
		return 0, 0, nil, io.EOF
	}
	return f.at, p.size, p.changed, nil
}

// close ends it, and returns how far it came and what it said last.
func (f *follower) close() (sent int64, said digest.Digest, claim int) {
	f.push.mu.Lock()
	defer f.push.mu.Unlock()
	f.closed = true
	f.push.wake()
	return f.at, f.said, f.claim
}
