package replicated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// sendFrom is how long an upload is when the first bytes of it are sent to peers. A shorter one goes to each in
// one request, when it is known to be whole.
const sendFrom = 1 << 20

// tellEvery is how many bytes arrive before the senders are told.
const tellEvery = 256 << 10

// push is what goes on beside an upload of this node: the senders that bring it to others. It is there from
// the first call that may need one until the upload is given up, unless no peer has anything of it.
type push struct {
	store *Store
	id    blobstore.UploadID

	mu       sync.Mutex
	busy     bool             // a call that writes to the upload is under way
	gone     bool             // the upload was given up: no sender starts any more
	hint     digest.Algorithm // what CreateUpload was told
	active   blobstore.Time   // the newest time that a call was given
	size     int64            // how many bytes can be read
	want     digest.Digest    // what a Finish said that they hash to; "" while more may come
	claims   int              // counts the times that want was said
	verified digest.Digest    // want, once this node's own Finish has succeeded
	ready    bool             // and enough peers': Publish may come
	senders  []*sender        // at most one a node
	changed  chan struct{}    // closed when anything of this changes, and made anew
}

func newPush(s *Store, id blobstore.UploadID) *push {
	return &push{store: s, id: id, changed: make(chan struct{})}
}

// wake lets everyone look again who waits. The caller holds the mutex.
func (p *push) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// hold makes the caller the only one that writes to an upload, until release: the senders must not be told
// that the bytes are whole while another call adds some. It returns blobstore.ErrUploadBusy.
func (s *Store) hold(id blobstore.UploadID) (*push, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pushes[id]
	if p == nil {
		p = newPush(s, id)
		if !s.closed.Load() {
			s.pushes[id] = p
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return nil, blobstore.ErrUploadBusy
	}
	p.busy = true
	return p, nil
}

// release ends what hold began, and forgets a push that nothing is known of.
func (s *Store) release(p *push) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	if len(p.senders) == 0 && p.hint == "" && !p.ready && s.pushes[p.id] == p {
		delete(s.pushes, p.id)
	}
}

// CreateUpload is as the contract says. Peers hear of the upload with its bytes.
func (s *Store) CreateUpload(ctx context.Context, id blobstore.UploadID, hint digest.Algorithm, at blobstore.Time) error {
	if m, err := s.membership(); err == nil { // without knowing the members Finish will fail, and may be repeated
		if err := s.room(m, nil); err != nil {
			return fmt.Errorf("create upload: %w", err)
		}
	}
	if err := s.Local.CreateUpload(ctx, id, hint, at); err != nil {
		return err
	}
	if hint == "" || hint == digest.SHA256 {
		return nil
	}
	p, err := s.hold(id)
	if err != nil {
		return nil // the upload is there, and whoever writes to it already does without the hint
	}
	defer s.release(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hint = hint
	return nil
}

// Append is as the contract says. The bytes go to peers from the local file as it grows; whoever is slow there
// holds nobody up here.
func (s *Store) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (int64, error) {
	m, err := s.membership()
	if err != nil || len(m.Others) == 0 { // without knowing the members Finish will fail, and may be repeated
		return s.Local.Append(ctx, id, offset, r, at)
	}
	p, err := s.hold(id)
	if err != nil {
		return 0, fmt.Errorf("append to upload: %w", err)
	}
	defer s.release(p)
	p.mu.Lock()
	p.active = max(p.active, at)
	p.mu.Unlock()
	t := &tap{Reader: r, room: func() error { return s.room(m, nil) }, tell: func() { p.follow(ctx, m) }}
	defer p.follow(ctx, m)
	return s.Local.Append(ctx, id, offset, t, at)
}

// tap tells when bytes have passed, and hands out no more when there is no room for them. What it has handed out may not
// all be in the file yet when it tells; the rest is told of later.
type tap struct {
	io.Reader
	room   func() error
	tell   func()
	begun  bool
	untold int
}

// Read reads.
func (t *tap) Read(b []byte) (int, error) {
	if !t.begun || t.untold >= tellEvery {
		if err := t.room(); err != nil {
			return 0, err
		}
		t.begun = true
	}
	if t.untold >= tellEvery {
		t.untold = 0
		t.tell()
	}
	n, err := t.Reader.Read(b)
	t.untold += n
	return n, err
}

// follow tells the senders how much there is to send now, and has as many at work as there should be.
func (p *push) follow(ctx context.Context, m Membership) {
	u, err := p.store.Upload(ctx, p.id)
	if err != nil || u.Finished || u.Offset < sendFrom {
		return // what is wrong with the upload the call itself says
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want, p.verified, p.ready = "", "", false
	p.grow(u.Offset)
	p.tend(m)
}

// grow notes how many bytes can be read. The caller holds the mutex.
func (p *push) grow(size int64) {
	for _, s := range p.senders {
		if s.sent >= p.size {
			s.moved = time.Now() // it was not slow: it had nothing to do
		}
	}
	p.size = size
	p.wake()
}

// EndUpload is as the contract says. Peers keep no word of it: what they have is under ids of their own.
func (s *Store) EndUpload(ctx context.Context, id blobstore.UploadID, at blobstore.Time) error {
	err := s.Local.EndUpload(ctx, id, at)
	if err == nil {
		s.forget(id)
	}
	return err
}

// RemoveUpload is as the contract says.
func (s *Store) RemoveUpload(ctx context.Context, id blobstore.UploadID) error {
	err := s.Local.RemoveUpload(ctx, id)
	if err == nil {
		s.forget(id)
	}
	return err
}

// forget ends the push of an upload that was given up.
func (s *Store) forget(id blobstore.UploadID) {
	s.mu.Lock()
	p := s.pushes[id]
	delete(s.pushes, id)
	s.mu.Unlock()
	if p != nil {
		p.leave()
	}
}

// leave ends all senders for good.
func (p *push) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.dismiss(p.senders)
	p.senders = nil
	p.wake()
}

// dismiss ends senders for good, and has what their peers hold of the upload removed. What cannot be removed,
// because a peer is away or this node stops, its own sweeper finds. The caller holds the mutex.
func (p *push) dismiss(senders []*sender) {
	for _, s := range senders {
		s.dismissed = true
		if s.running {
			s.stop(errDismissed) // it cleans up itself when it has stopped
			continue
		}
		p.discard(s)
	}
}

var errDismissed = errors.New("upload was given up, or is whole without this peer")

// tidy removes an upload that a peer has no more use for.
func (s *Store) tidy(ctx context.Context, at blobstore.Incarnation, tee blobstore.UploadID) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.Tidy)
	defer cancel()
	if err := s.peers.remove(ctx, at, tee); err != nil {
		blobstore.LogFor(ctx, s.log).Debug("upload is left behind on another node", "node", at.String(), "upload", tee.String(), "error", err)
	}
}
