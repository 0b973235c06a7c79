// Package entry is the envelope around everything in the replicated log, and the few nouns that the
// log and the state machine behind it share: incarnations, request ids, state time, nodes.
//
// It knows neither Raft nor what a payload means, so that `cluster` (which orders payloads) and `fsm`
// (which executes them) need not know each other. Start with Envelope. It keeps the first half of
// invariant 9 (a request id is stable over retries) and of invariant 10 (an envelope names its term).
package entry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// MaxPayload is the largest payload, in bytes, that a leader lets into the log (DESIGN 2).
const MaxPayload = 512 << 10

// ErrMalformed is returned for bytes that are no envelope.
var ErrMalformed = errors.New("malformed log entry")

// Time is state time: nanoseconds that the cluster has had a ready leader. It is replicated, never
// falls, never jumps, and stands still without a leader. It has no relation to any calendar.
type Time int64

// Add returns t moved by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns how much later t is than u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// RequestID names one request over all its retries. Its zero value marks an entry that nobody will
// ever ask the result of, such as those a leader appends by itself.
type RequestID struct {
	Incarnation Incarnation // of the node that first proposed it
	Random      uint64      // drawn at each start of that process
	Sequence    uint64      // counted by that process
	FirstTry    Time        // the state time that the proposer knew at its first try
}

// IsZero reports whether id names no request.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// String is for logs.
func (id RequestID) String() string {
	return fmt.Sprintf("%s-%x-%d", id.Incarnation.Short(), id.Random, id.Sequence)
}

// Envelope is what the leader wraps around a payload when it appends it.
type Envelope struct {
	Request RequestID
	Term    uint64 // of the leader that wrapped it; an entry of another term is refused when applied
	Time    Time   // the leader's state time
	Date    int64  // the leader's clock, Unix milliseconds; only for what has a calendar date
}

// Kind says what an Entry is.
type Kind uint8

// The kinds of entries that reach a state machine.
const (
	Command       Kind = iota + 1 // Payload is a command, Envelope its envelope
	Configuration                 // Payload is an encoded Raft configuration, Envelope is empty
)

// Entry is one committed entry, as a state machine is given it.
type Entry struct {
	Index    uint64
	Term     uint64
	Kind     Kind
	Envelope Envelope
	Payload  []byte
}

// Outcome says what became of a command.
type Outcome uint8

// The outcomes of a command that reached the state machine.
const (
	Applied   Outcome = iota + 1 // Bytes is the command's result
	Refused                      // Bytes says why; the state did not change
	WrongTerm                    // wrapped by a deposed leader: nothing changed or kept; to be wrapped anew
	Expired                      // its first try is too long ago to tell whether it was applied; nothing changed now
)

// Result is what applying one entry gave.
type Result struct {
	Outcome Outcome
	Bytes   []byte
}

// Position is how far a state has come: everything up to and including Index is in it. The numbers of
// its fields are part of the state's format.
type Position struct {
	Index              uint64 `cbor:"1,keyasint"`
	Term               uint64 `cbor:"2,keyasint"` // of the entry at Index
	Time               Time   `cbor:"3,keyasint"`
	Configuration      []byte `cbor:"4,keyasint,omitempty"` // the newest committed Raft configuration, encoded; nil if there is none
	ConfigurationIndex uint64 `cbor:"5,keyasint,omitempty"`
}

// Stamp is what a staged snapshot is marked with before it becomes current.
type Stamp struct {
	Index              uint64
	Term               uint64
	Configuration      []byte
	ConfigurationIndex uint64
}

// envelopeVersion is the first byte of every log entry. A new layout gets a new number, and a node
// knows all older ones for ever.
const envelopeVersion = 1

const envelopeSize = 1 + 16 + 6*8

// Wrap returns the log entry of payload in envelope e. The result is a new slice.
func Wrap(e Envelope, payload []byte) []byte {
	b := make([]byte, 0, envelopeSize+len(payload))
	b = append(b, envelopeVersion)
	b = append(b, e.Request.Incarnation[:]...)
	for _, v := range [...]uint64{
		e.Request.Random, e.Request.Sequence, uint64(e.Request.FirstTry), e.Term, uint64(e.Time), uint64(e.Date), //nolint:gosec // two's complement there and back
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, payload...)
}

// Unwrap is the inverse of Wrap. The payload shares b's memory.
//
// It fails with ErrMalformed if b is no envelope of a known version.
func Unwrap(b []byte) (Envelope, []byte, error) {
	if len(b) < envelopeSize {
		return Envelope{}, nil, fmt.Errorf("%w: %d bytes are fewer than an envelope has", ErrMalformed, len(b))
	}
	if b[0] != envelopeVersion {
		return Envelope{}, nil, fmt.Errorf("%w: envelope version %d is not known", ErrMalformed, b[0])
	}
	var e Envelope
	copy(e.Request.Incarnation[:], b[1:17])
	var v [6]uint64
	for i := range v {
		v[i] = binary.BigEndian.Uint64(b[17+8*i:])
	}
	e.Request.Random, e.Request.Sequence, e.Request.FirstTry = v[0], v[1], Time(v[2]) //nolint:gosec // as in Wrap
	e.Term, e.Time, e.Date = v[3], Time(v[4]), int64(v[5])                            //nolint:gosec // as in Wrap
	return e, b[envelopeSize:], nil
}
