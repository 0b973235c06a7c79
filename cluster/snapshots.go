package cluster

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// The snapshots there are: the state as it stands, and one that waits to become it.
const (
	snapshotID = "state"
	stagedID   = "staged"
)

// stagedToken is what Raft is given to copy in place of a snapshot that was taken in already. The
// bytes arrive while Raft goes on (transport.go); Raft's own goroutine only sees this.
const stagedToken = "staged"

// errNoStage is returned for a snapshot that did not come through the transport.
var errNoStage = errors.New("snapshot was not staged")

// snapshots is Raft's SnapshotStore over a StateMachine whose file is the snapshot: taking one copies
// nothing, and installing one is a rename.
type snapshots struct {
	state   StateMachine
	applied *applied

	mu      sync.Mutex
	pending *entry.Stamp // of the staged snapshot that Raft has closed; guarded by mu
}

// List describes the state, if there is any.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	p := s.state.Position()
	if p.Index == 0 {
		return nil, nil
	}
	meta, err := metaOf(p)
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, nil
}

func metaOf(p entry.Position) (*raft.SnapshotMeta, error) {
	if len(p.Configuration) == 0 {
		return nil, fmt.Errorf("state at index %d holds no Raft configuration", p.Index)
	}
	return &raft.SnapshotMeta{
		Version:            raft.SnapshotVersionMax,
		ID:                 snapshotID,
		Index:              p.Index,
		Term:               p.Term,
		Configuration:      raft.DecodeConfiguration(p.Configuration),
		ConfigurationIndex: p.ConfigurationIndex,
	}, nil
}

// Open opens the state for sending, or describes the one that is about to be installed. Index, term and configuration come from the transaction that is
// read, so they cannot belong to another state than the bytes.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id == stagedID {
		return s.openStaged()
	}
	position, size, stream, err := s.state.OpenSnapshot()
	if err != nil {
		return nil, nil, err
	}
	meta, err := metaOf(position)
	if err != nil {
		return nil, nil, errors.Join(err, stream.Close())
	}
	meta.Size = size
	return meta, pipe(stream), nil
}

// openStaged gives Raft what it asks for before it installs: its own numbers, and nothing to read.
func (s *snapshots) openStaged() (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		return nil, nil, errNoStage
	}
	meta, err := metaOf(entry.Position{
		Index: s.pending.Index, Term: s.pending.Term,
		Configuration: s.pending.Configuration, ConfigurationIndex: s.pending.ConfigurationIndex,
	})
	if err != nil {
		return nil, nil, err
	}
	meta.ID = stagedID
	return meta, io.NopCloser(strings.NewReader("")), nil
}

// pipe turns a Stream into a reader. Its goroutine ends when all is read or the reader is closed, and
// Close waits for it.
func pipe(stream Stream) io.ReadCloser {
	r, w := io.Pipe()
	p := &piped{PipeReader: r, done: make(chan struct{})}
	go func() { // waited for by Close
		defer close(p.done)
		_, err := stream.WriteTo(w)
		w.CloseWithError(errors.Join(err, stream.Close()))
	}()
	return p
}

type piped struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the stream and waits until its transaction is over.
func (p *piped) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// Create begins what ends either in Advance (Raft took a snapshot of what is here) or in Install (one
// was staged).
func (s *snapshots) Create(_ raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{snapshots: s, stamp: entry.Stamp{
		Index: index, Term: term,
		Configuration:      raft.EncodeConfiguration(configuration),
		ConfigurationIndex: configurationIndex,
	}}, nil
}

type sink struct {
	snapshots *snapshots
	stamp     entry.Stamp
	got       strings.Builder
}

// ID names the snapshot.
func (s *sink) ID() string {
	if s.got.Len() > 0 {
		return stagedID
	}
	return snapshotID
}

// Write takes the token of a staged snapshot, and nothing else.
func (s *sink) Write(b []byte) (int, error) {
	if s.got.Len()+len(b) > len(stagedToken) {
		return 0, errNoStage
	}
	return s.got.Write(b)
}

// Close confirms.
func (s *sink) Close() error {
	switch s.got.String() {
	case "":
		// Raft's index is beyond the applied one if no-ops of its own follow. The log is cut after
		// this, so the state must know first (RAFT.md, "rejoin after a cut log").
		return s.snapshots.state.Advance(s.stamp.Index, s.stamp.Term)
	case stagedToken:
		s.snapshots.mu.Lock()
		defer s.snapshots.mu.Unlock()
		s.snapshots.pending = &s.stamp
		return nil
	default:
		return errNoStage
	}
}

// Cancel gives up; a staged file is replaced by the next one or removed at the next start.
func (s *sink) Cancel() error { return nil }

// install makes the staged snapshot the state.
func (s *snapshots) install() error {
	s.mu.Lock()
	stamp := s.pending
	s.pending = nil
	s.mu.Unlock()
	if stamp == nil {
		return errNoStage
	}
	if err := s.state.Install(*stamp); err != nil {
		return fmt.Errorf("install snapshot at index %d: %w", stamp.Index, err)
	}
	s.applied.set(stamp.Index)
	return nil
}
