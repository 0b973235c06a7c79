package cluster

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// machine is the StateMachine as Raft wants to see it. Raft calls its methods from one goroutine.
type machine struct {
	state     StateMachine
	applied   *applied
	snapshots *snapshots
	begin     func(index, term uint64) // called as a batch begins, with its last entry
}

var _ raft.BatchingFSM = (*machine)(nil)

// ApplyBatch applies committed entries. It panics where going on would be wrong: the node stops.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	last := logs[len(logs)-1]
	m.begin(last.Index, last.Term)
	entries := make([]entry.Entry, len(logs))
	for i, log := range logs {
		entries[i] = asEntry(log)
	}
	results := m.state.Apply(entries)
	m.applied.set(last.Index)
	out := make([]any, len(results))
	for i := range results {
		out[i] = results[i]
	}
	return out
}

func asEntry(log *raft.Log) entry.Entry {
	e := entry.Entry{Index: log.Index, Term: log.Term}
	switch log.Type {
	case raft.LogConfiguration:
		e.Kind, e.Payload = entry.Configuration, log.Data
	case raft.LogCommand:
		envelope, payload, err := entry.Unwrap(log.Data)
		if err != nil {
			panic(fmt.Errorf("entry %d of term %d cannot be applied: %w; install the version that the other nodes run", log.Index, log.Term, err))
		}
		e.Kind, e.Envelope, e.Payload = entry.Command, envelope, payload
	default:
		panic(fmt.Errorf("entry %d of term %d has type %s, which nobody appends", log.Index, log.Term, log.Type))
	}
	return e
}

// Apply applies one entry.
func (m *machine) Apply(log *raft.Log) any { return m.ApplyBatch([]*raft.Log{log})[0] }

// Snapshot costs nothing: the state's own file is the snapshot.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return persisted{}, nil }

// Restore makes the snapshot that sink.Close has just confirmed the state.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close() //nolint:errcheck // holds nothing
	return m.snapshots.install()
}

// persisted is a snapshot that is on disk already.
type persisted struct{}

// Persist has nothing to write; the sink records the index that Raft gave.
func (persisted) Persist(sink raft.SnapshotSink) error { return sink.Close() }

// Release has nothing to release.
func (persisted) Release() {}
