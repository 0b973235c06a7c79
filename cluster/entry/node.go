package entry

import (
	"encoding/hex"
	"fmt"
)

// Incarnation is the identity of a data directory, drawn at random when the directory is made. It is
// the Raft server id, so a node that lost its disk is another server.
type Incarnation [16]byte

// IsZero reports whether i names nobody.
func (i Incarnation) IsZero() bool { return i == Incarnation{} }

// String is 32 hexadecimal digits.
func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// Short is the first 8 of them, for logs and people.
func (i Incarnation) Short() string { return hex.EncodeToString(i[:4]) }

// MarshalText is String, for JSON.
func (i Incarnation) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText is the inverse of MarshalText; it fails if text is not 32 hexadecimal digits.
func (i *Incarnation) UnmarshalText(text []byte) error {
	parsed, err := ParseIncarnation(string(text))
	if err == nil {
		*i = parsed
	}
	return err
}

// ParseIncarnation is the inverse of String. It fails if s is not 32 hexadecimal digits.
func ParseIncarnation(s string) (Incarnation, error) {
	var i Incarnation
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(i) {
		return Incarnation{}, fmt.Errorf("incarnation %q is not 32 hexadecimal digits", s)
	}
	copy(i[:], b)
	return i, nil
}

// NodeState is what the replicated state says of a node (DESIGN 2, "Node states").
type NodeState uint8

// The states of a node. Only a Member counts in W, and only its locations count.
const (
	Joining NodeState = iota + 1 // announced, not yet a voter
	Member                       // a voter
	Replica                      // reads only; keeps unrecorded copies
	Retired                      // leaving: its copies no longer count
	Dropped                      // gone; never comes back
)

// String is the word that people see.
func (s NodeState) String() string {
	switch s {
	case Joining:
		return "joining"
	case Member:
		return "member"
	case Replica:
		return "replica"
	case Retired:
		return "retired"
	case Dropped:
		return "dropped"
	default:
		return fmt.Sprintf("state(%d)", uint8(s))
	}
}

// Node is one node as the replicated state knows it. The numbers of its fields are part of that state's
// format, so they are for ever.
type Node struct {
	Incarnation Incarnation `cbor:"1,keyasint"`
	Name        string      `cbor:"2,keyasint"` // stable: the same over restarts, changed addresses and lost disks
	Address     string      `cbor:"3,keyasint"` // host:port of the one port between nodes
	Zone        string      `cbor:"4,keyasint,omitempty"`
	Version     string      `cbor:"5,keyasint,omitempty"` // of the binary, as it last announced itself
	Level       uint32      `cbor:"6,keyasint"`           // the highest feature level that its binary knows
	State       NodeState   `cbor:"7,keyasint"`
}
