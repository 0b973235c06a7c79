package fsm

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxReason is the longest reason that SetReadOnly may give, in bytes.
const maxReason = 500

// SetReadOnly makes what the registry has stay as it is, or with On false ends that. From the log index of the one to
// that of the other every command is refused with ErrReadOnly by which a client or a policy changes it (those that
// commands.go marks); whoever was told 201 or 202 before finds it so afterwards.
//
// All else goes on: garbage that nobody can see any more is collected, copies are repaired and move, nodes come and
// go, people log in and make keys, pulls are counted, for a policy must not take what was pulled meanwhile for unused.
// A lease is renewed too: HEAD promises that the blob stays, not that a push is taken.
//
// It is never refused. One that is on already gets the new reason.
type SetReadOnly struct {
	On     bool   `cbor:"1,keyasint,omitempty"`
	Reason string `cbor:"2,keyasint,omitempty"` // for people; only with On
}

// ReadOnly says that nothing may be changed, since when, and why.
type ReadOnly struct {
	Since  int64  `cbor:"1,keyasint" json:"since"` // Unix milliseconds
	Reason string `cbor:"2,keyasint,omitempty" json:"reason,omitempty"`
}

// keyReadOnly is where a ReadOnly lies in meta, if the registry is.
var keyReadOnly = []byte("readOnly") //nolint:gochecknoglobals // a constant

func (SetReadOnly) wire() kind { return kind{"set-read-only", 1} }

func (c SetReadOnly) check() error {
	switch {
	case !c.On && c.Reason != "":
		return fmt.Errorf("a reason for what ends: %q", c.Reason)
	case len(c.Reason) > maxReason:
		return fmt.Errorf("a reason of %d bytes, at most %d", len(c.Reason), maxReason)
	case !utf8.ValidString(c.Reason) || strings.ContainsFunc(c.Reason, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("reason %q has control characters, or is no UTF-8", c.Reason) // it goes to terminals
	}
	return nil
}

func (c SetReadOnly) apply(t *tx) (None, error) {
	if !c.On {
		t.del(meta, keyReadOnly)
		return None{}, nil
	}
	now, already := t.readOnly()
	if !already {
		now.Since = t.date
	}
	now.Reason = c.Reason
	t.save(meta, keyReadOnly, now)
	return None{}, nil
}

func (r reader) readOnly() (ReadOnly, bool) { return load[ReadOnly](r, meta, keyReadOnly) }

// writable refuses while the registry is read-only.
func (r reader) writable() error {
	now, is := r.readOnly()
	switch {
	case !is:
		return nil
	case now.Reason == "":
		return ErrReadOnly.with("for maintenance; pulls go on")
	default:
		return ErrReadOnly.with("%s; pulls go on", now.Reason)
	}
}

// ReadOnly returns why nothing may be changed, and whether that is so.
func (v View) ReadOnly() (ReadOnly, bool) { return v.readOnly() }

// Writable fails with ErrReadOnly, as the commands do.
func (v View) Writable() error { return v.writable() }
