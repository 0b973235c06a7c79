package peer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The hello follows the TLS handshake: the dialer greets, the acceptor answers with its own greeting and its
// verdict, the dialer sends its verdict; only then is the connection anybody's. The third message costs no time,
// as the dialer's first bytes follow it, and lets the acceptor, too, log which thing differs.
//
// Each message is a frame: four bytes of length, big endian, then JSON. Unknown members are passed over.

const (
	helloVersion = 1
	maxFrame     = 4096 // bytes of JSON
	keyingLabel  = "EXPORTER-zot-peer-hello"
	keyingSize   = 32
)

type role string

const (
	dialer   role = "dialer"
	acceptor role = "acceptor"
)

type greeting struct {
	Version     int    `json:"version"`
	Cluster     string `json:"cluster"`
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"`
	Want        string `json:"want,omitempty"` // the incarnation that the dialer wants to reach, if it knows
	Proof       []byte `json:"proof"`
}

// verdict without a reason is an acceptance.
type verdict struct {
	Refused Reason `json:"refused,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

var errMalformed = errors.New("malformed hello")

// party is one side of a hello. It is all that a hello depends on beside the connection.
type party struct {
	cluster string
	self    Caller
	secrets []secret
}

// dial speaks the dialer's part and returns who answered. want is the incarnation that must answer, "" for any.
func (p party) dial(conn io.ReadWriter, keying []byte, want string) (Caller, error) {
	// A write fails also when the acceptor has already said why it hangs up, so the reading side has the better error.
	writeErr := writeFrames(conn, p.greeting(dialer, keying, want))
	var theirs greeting
	var decision verdict
	if err := readFrames(conn, &theirs, &decision); err != nil {
		return Caller{}, errors.Join(err, writeErr)
	}
	if decision.Refused != "" {
		return Caller{}, decision.err()
	}
	refused := p.judge(theirs, acceptor, keying)
	if refused == nil && want != "" && theirs.Incarnation != want {
		refused = wrongIncarnation(want, Caller{Node: theirs.Node, Incarnation: theirs.Incarnation})
	}
	if err := writeFrames(conn, verdictOf(refused)); err != nil {
		return Caller{}, err
	}
	return theirs.caller(refused)
}

// accept speaks the acceptor's part and returns who called.
func (p party) accept(conn io.ReadWriter, keying []byte) (Caller, error) {
	var theirs greeting
	if err := readFrames(conn, &theirs); err != nil {
		return Caller{}, err
	}
	refused := p.judge(theirs, dialer, keying)
	if refused == nil && theirs.Want != "" && theirs.Want != p.self.Incarnation {
		refused = wrongIncarnation(theirs.Want, p.self)
	}
	if err := writeFrames(conn, p.greeting(acceptor, keying, ""), verdictOf(refused)); err != nil {
		return Caller{}, errors.Join(asError(refused), err)
	}
	if refused != nil {
		return Caller{}, refused
	}
	var decision verdict
	if err := readFrames(conn, &decision); err != nil {
		return Caller{}, err
	}
	if decision.Refused != "" {
		return Caller{}, decision.err()
	}
	return theirs.caller(nil)
}

func (p party) greeting(role role, keying []byte, want string) greeting {
	return greeting{
		Version:     helloVersion,
		Cluster:     p.cluster,
		Node:        p.self.Node,
		Incarnation: p.self.Incarnation,
		Want:        want,
		Proof:       p.secrets[0].prove(role, keying),
	}
}

// judge finds what differs between the two sides, whatever the dialer wants. The secret comes before the names, as
// a side that does not hold it is told nothing else.
func (p party) judge(theirs greeting, role role, keying []byte) *RefusedError {
	switch {
	case theirs.Version != helloVersion:
		return refuse(Version, "node %q speaks version %d of the protocol between nodes, node %q version %d",
			theirs.Node, theirs.Version, p.self.Node, helloVersion)
	case !proves(p.secrets, role, keying, theirs.Proof):
		return refuse(Secret, "the first line of the secretFile of node %q is no line of node %q's", theirs.Node, p.self.Node)
	case theirs.Cluster != p.cluster:
		return refuse(ClusterName, "node %q is of cluster %q, node %q of cluster %q",
			theirs.Node, theirs.Cluster, p.self.Node, p.cluster)
	default:
		return nil
	}
}

func wrongIncarnation(want string, answers Caller) *RefusedError {
	return refuse(Incarnation, "incarnation %q is wanted, node %q with incarnation %q answers: another node has this address, or its disk was replaced",
		want, answers.Node, answers.Incarnation)
}

func (g greeting) caller(refused *RefusedError) (Caller, error) {
	switch {
	case refused != nil:
		return Caller{}, refused
	case g.Node == "" || g.Incarnation == "":
		return Caller{}, fmt.Errorf("%w: no name", errMalformed)
	default:
		return Caller{Node: g.Node, Incarnation: g.Incarnation}, nil
	}
}

func verdictOf(refused *RefusedError) verdict {
	if refused == nil {
		return verdict{}
	}
	return verdict{Refused: refused.Reason, Detail: refused.Detail}
}

// err is the refusal that the other side pronounced. A reason that this build does not know comes from a newer one.
func (v verdict) err() error {
	switch v.Refused {
	case ClusterName, Incarnation, Secret, Version, Certificate:
		return refuse(v.Refused, "%s", v.Detail)
	default:
		return refuse(Version, "%s (%s)", v.Detail, v.Refused)
	}
}

// asError avoids the interface that is not nil but holds a nil pointer.
func asError(refused *RefusedError) error {
	if refused == nil {
		return nil
	}
	return refused
}

// writeFrames sends all frames in one write, so that they travel in one packet.
func writeFrames(w io.Writer, messages ...any) error {
	var frames []byte
	for _, message := range messages {
		body, err := json.Marshal(message)
		if err != nil {
			return fmt.Errorf("encode hello: %w", err)
		}
		if len(body) > maxFrame {
			return fmt.Errorf("%w: %d bytes to be sent, at most %d are allowed", errMalformed, len(body), maxFrame)
		}
		frames = binary.BigEndian.AppendUint32(frames, uint32(len(body))) //nolint:gosec // bounded above
		frames = append(frames, body...)
	}
	if _, err := w.Write(frames); err != nil {
		return fmt.Errorf("send hello: %w", err)
	}
	return nil
}

// readFrames reads not one byte beyond the last frame: what follows belongs to the protocol above.
func readFrames(r io.Reader, messages ...any) error {
	for _, message := range messages {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("read hello: %w", err)
		}
		size := binary.BigEndian.Uint32(head[:])
		if size > maxFrame {
			return fmt.Errorf("%w: %d bytes announced, at most %d are allowed", errMalformed, size, maxFrame)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return fmt.Errorf("read hello: %w", err)
		}
		if err := json.Unmarshal(body, message); err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	return nil
}
