package fsm

import (
	"errors"
	"fmt"
)

// Refusal is the answer to a command that was judged and changed nothing. It is a result like any
// other: every node comes to the same one, and a retry gets it again.
type Refusal struct {
	Code   string `cbor:"1,keyasint"` // stable, part of the wire format
	Detail string `cbor:"2,keyasint,omitempty"`
}

// Error is for people.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

// Is makes errors.Is compare codes.
func (r *Refusal) Is(target error) bool {
	var other *Refusal
	return errors.As(target, &other) && other.Code == r.Code
}

// with returns r with words about the case at hand.
func (r *Refusal) with(format string, args ...any) *Refusal {
	return &Refusal{Code: r.Code, Detail: fmt.Sprintf(format, args...)}
}

// The refusals. Codes are for ever.
var (
	// ErrInvalid is for a command that its own check would have kept out of the log.
	ErrInvalid = &Refusal{Code: "invalid"} //nolint:gochecknoglobals // a sentinel error
	// ErrTooMany is for one record more than the state may hold of a kind.
	ErrTooMany = &Refusal{Code: "too many"} //nolint:gochecknoglobals // a sentinel error
)

// decodeRefusal is the inverse of encode for a *Refusal.
func decodeRefusal(b []byte) error {
	var r Refusal
	if err := decode(b, &r); err != nil {
		return fmt.Errorf("refusal: %w", err)
	}
	return &r
}
