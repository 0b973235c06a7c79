package fsm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// ErrNotAdmitted is returned by Admit for a payload that must not enter the log.
var ErrNotAdmitted = errors.New("not admitted to the log")

// kind is the wire name and version of a command. Both are for ever: a changed encoding is a new version.
type kind struct {
	name    string
	version uint8
}

// String is how logs and errors name a command.
func (k kind) String() string { return fmt.Sprintf("%s/%d", k.name, k.version) }

// CommandOf is a command whose result is an R. Commands are the exported structs of this package.
type CommandOf[R any] interface {
	Command
	// apply judges the command and, if nothing speaks against it, makes its change. It checks
	// everything before its first write: the transaction is shared by a batch and has no undo. Its
	// error is a *Refusal.
	apply(t *tx) (R, error)
}

// Command is what Encode turns into a payload.
type Command interface {
	wire() kind
	// check is what can be said against the command without a state: sizes, grammar, missing fields.
	// It is asked before a command enters the log, and only there.
	check() error
}

// leased is a command that starts a lease: its result is kept, and its first try may be as old, as
// the window of that store says, not ten minutes (GC R6).
type leased interface {
	// leaseStore depends on the command alone, or a retry could be judged by the window of another store
	// than its result was kept by.
	leaseStore() string
}

// spec is one line of the table of commands.
type spec struct {
	kind  kind
	level uint32 // the feature level at which it may enter the log
	// content: a client or a policy changes by it what the registry has, so SetReadOnly is about it.
	content bool
	decode  func(body []byte) (runner, error)
}

// runner is a decoded command with its result's type forgotten.
type runner struct {
	command Command
	run     func(t *tx) ([]byte, error)
}

// define makes the line of command C, known since a feature level.
func define[C CommandOf[R], R any](level uint32) spec {
	var zero C
	return spec{
		kind:  zero.wire(),
		level: level,
		decode: func(body []byte) (runner, error) {
			var c C
			if err := decode(body, &c); err != nil {
				return runner{}, err
			}
			return runner{command: c, run: func(t *tx) ([]byte, error) {
				r, err := c.apply(t)
				if err != nil {
					return nil, err
				}
				return encode(r), nil
			}}, nil
		},
	}
}

// content marks a line of the table.
func content(s spec) spec {
	s.content = true
	return s
}

// Encode returns cmd as a payload for the log. It fails if cmd does not pass its own check.
func Encode(cmd Command) ([]byte, error) {
	if err := cmd.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.wire(), err)
	}
	k := cmd.wire()
	b := make([]byte, 0, 256)
	b = append(b, byte(len(k.name))) //nolint:gosec // a short name
	b = append(b, k.name...)
	b = append(b, k.version)
	b = append(b, encode(cmd)...)
	if len(b) > entry.MaxPayload {
		return nil, fmt.Errorf("%s of %d bytes: %w: at most %d", k, len(b), ErrNotAdmitted, entry.MaxPayload)
	}
	return b, nil
}

// parse finds the line of the table and the body of a payload.
func (s *State) parse(payload []byte) (spec, []byte, error) {
	if len(payload) > entry.MaxPayload {
		return spec{}, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrNotAdmitted, len(payload), entry.MaxPayload)
	}
	if len(payload) < 2 || len(payload) < 2+int(payload[0]) {
		return spec{}, nil, fmt.Errorf("%w: no command name in %d bytes", ErrNotAdmitted, len(payload))
	}
	n := 1 + int(payload[0])
	k := kind{name: string(payload[1:n]), version: payload[n]}
	sp, ok := s.commands[k]
	if !ok {
		return spec{}, nil, fmt.Errorf("%w: command %q version %d is not known to this binary", ErrNotAdmitted, k.name, k.version)
	}
	return sp, payload[n+1:], nil
}

// Admit says whether payload may enter the log: known, of the cluster's feature level, well formed
// and not too large. What it refuses is never logged, so nobody's entry can halt the cluster.
//
// It fails with ErrNotAdmitted.
func (s *State) Admit(payload []byte) error {
	sp, body, err := s.parse(payload)
	if err != nil {
		return err
	}
	if level := s.Level(); sp.level > level {
		return fmt.Errorf("%w: %s needs feature level %d, the cluster has %d", ErrNotAdmitted, sp.kind, sp.level, level)
	}
	r, err := sp.decode(body)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotAdmitted, sp.kind, err)
	}
	if !bytes.Equal(encode(r.command), body) {
		return fmt.Errorf("%w: %s: not in the one encoding that it has", ErrNotAdmitted, sp.kind)
	}
	if err := r.command.check(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotAdmitted, sp.kind, err)
	}
	return nil
}
