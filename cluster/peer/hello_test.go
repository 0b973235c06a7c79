package peer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"unicode"
)

func testParty(node string, lines ...string) party {
	p := party{cluster: "prod", self: Caller{Node: node, Incarnation: "disk of " + node}}
	for _, line := range lines {
		p.secrets = append(p.secrets, secret(strings.Repeat(line, minSecret)))
	}
	return p
}

func keying() []byte { return bytes.Repeat([]byte{1}, keyingSize) }

type outcome struct {
	caller Caller
	err    error
}

// meet lets two sides greet each other over a pipe.
func meet(t *testing.T, dial, accept func(io.ReadWriter) (Caller, error)) (dialed, accepted outcome) {
	t.Helper()
	a, b := net.Pipe()
	result := make(chan outcome, 1)
	go func() {
		caller, err := accept(b)
		_ = b.Close()
		result <- outcome{caller, err}
	}()
	dialed.caller, dialed.err = dial(a)
	_ = a.Close()
	return dialed, <-result
}

func TestHello(t *testing.T) {
	for name, test := range map[string]struct {
		change func(a, b *party)
		want   string
		keying []byte // of the acceptor, where it differs
		reason Reason // "" for an agreement
	}{
		"agreed":                   {},
		"agreed, incarnation":      {want: "disk of b"},
		"agreed, during rotation":  {change: func(a, b *party) { *a, *b = testParty("a", "y", "x"), testParty("b", "x", "y") }},
		"another cluster":          {change: func(a, _ *party) { a.cluster = "test" }, reason: ClusterName},
		"another incarnation":      {want: "disk of c", reason: Incarnation},
		"another secret":           {change: func(_, b *party) { *b = testParty("b", "y") }, reason: Secret},
		"acceptor's line unknown":  {change: func(_, b *party) { *b = testParty("b", "y", "x") }, reason: Secret},
		"another TLS session":      {keying: bytes.Repeat([]byte{2}, keyingSize), reason: Secret},
		"secret before all others": {change: func(_, b *party) { *b = testParty("b", "y"); b.cluster = "test" }, want: "disk of c", reason: Secret},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := testParty("a", "x"), testParty("b", "x")
			if test.change != nil {
				test.change(&a, &b)
			}
			theirs := test.keying
			if theirs == nil {
				theirs = keying()
			}
			dialed, accepted := meet(t,
				func(c io.ReadWriter) (Caller, error) { return a.dial(c, keying(), test.want) },
				func(c io.ReadWriter) (Caller, error) { return b.accept(c, theirs) })
			if test.reason != "" {
				refusedFor(t, dialed.err, test.reason)
				refusedFor(t, accepted.err, test.reason)
				return
			}
			if dialed.err != nil || accepted.err != nil || dialed.caller != b.self || accepted.caller != a.self {
				t.Errorf("dialer has %v, acceptor has %v", dialed, accepted)
			}
		})
	}
}

func refusedFor(t *testing.T, err error, reason Reason) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != reason {
		t.Errorf("got %v, want a refusal for %q", err, reason)
	}
}

// TestHelloOfAnAcceptor has acceptors that do not keep to the rules: the dialer must find out by itself.
func TestHelloOfAnAcceptor(t *testing.T) {
	honest := testParty("b", "x")
	for name, test := range map[string]struct {
		answer func(dialer greeting) []any
		reason Reason
	}{
		"another version": {func(greeting) []any {
			g := honest.greeting(acceptor, keying(), "")
			g.Version = 2
			return []any{g, verdict{}}
		}, Version},
		"an echo of the dialer's proof": {func(d greeting) []any {
			d.Node = "b"
			return []any{d, verdict{}}
		}, Secret},
		"no proof": {func(greeting) []any {
			g := honest.greeting(acceptor, keying(), "")
			g.Proof = nil
			return []any{g, verdict{}}
		}, Secret},
		"accepts although another incarnation is wanted": {func(greeting) []any {
			g := honest.greeting(acceptor, keying(), "")
			g.Incarnation = "a new disk"
			return []any{g, verdict{}}
		}, Incarnation},
		"accepts although its cluster is another": {func(greeting) []any {
			g := honest.greeting(acceptor, keying(), "")
			g.Cluster = "test"
			return []any{g, verdict{}}
		}, ClusterName},
		"a reason of a later version": {func(greeting) []any {
			return []any{honest.greeting(acceptor, keying(), ""), verdict{Refused: "zone", Detail: "too far"}}
		}, Version},
	} {
		t.Run(name, func(t *testing.T) {
			told := verdict{}
			dialed, _ := meet(t,
				func(c io.ReadWriter) (Caller, error) { return testParty("a", "x").dial(c, keying(), "disk of b") },
				func(c io.ReadWriter) (Caller, error) {
					var g greeting
					if err := readFrames(c, &g); err != nil {
						return Caller{}, err
					}
					if err := writeFrames(c, test.answer(g)...); err != nil {
						return Caller{}, err
					}
					return Caller{}, readFrames(c, &told)
				})
			refusedFor(t, dialed.err, test.reason)
			if told.Refused != test.reason && name != "a reason of a later version" {
				t.Errorf("the acceptor is told %q, want %q", told.Refused, test.reason)
			}
		})
	}
}

// TestHelloOfADialer has dialers that accept any answer: the acceptor must find out by itself.
func TestHelloOfADialer(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*greeting)
		reason Reason
	}{
		"another version":             {func(g *greeting) { g.Version = 7 }, Version},
		"no proof":                    {func(g *greeting) { g.Proof = nil }, Secret},
		"wants another incarnation":   {func(g *greeting) { g.Want = "the disk before" }, Incarnation},
		"another cluster":             {func(g *greeting) { g.Cluster = "test" }, ClusterName},
		"a proof of the other's role": {func(g *greeting) { g.Proof = testParty("a", "x").secrets[0].prove(acceptor, keying()) }, Secret},
	} {
		t.Run(name, func(t *testing.T) {
			g := testParty("a", "x").greeting(dialer, keying(), "")
			test.change(&g)
			conn := &script{Reader: bytes.NewReader(frame(g, verdict{}))}
			_, err := testParty("b", "x").accept(conn, keying())
			refusedFor(t, err, test.reason)
			var answer greeting
			var told verdict
			if err := readFrames(&conn.sent, &answer, &told); err != nil || told.Refused != test.reason {
				t.Errorf("the dialer is told %q, %v", told.Refused, err)
			}
		})
	}
}

func TestHelloIsBounded(t *testing.T) {
	worst := strings.Repeat("<", maxNode)
	p := testParty(worst, "x")
	p.cluster, p.self.Incarnation = strings.Repeat("<", maxCluster), strings.Repeat("<", maxIncarnation)
	detail := refuse(Incarnation, "%s", strings.Repeat("<", 4*maxFrame)).Detail
	if err := writeFrames(io.Discard, p.greeting(dialer, keying(), p.self.Incarnation), verdict{Refused: Incarnation, Detail: detail}); err != nil {
		t.Error(err)
	}
	for name, frame := range map[string][]byte{
		"too long":  binary.BigEndian.AppendUint32(nil, maxFrame+1),
		"huge":      {0xff, 0xff, 0xff, 0xff},
		"empty":     {0, 0, 0, 0},
		"no JSON":   {0, 0, 0, 1, 'x'},
		"not a map": {0, 0, 0, 2, '[', ']'},
		"cut":       {0, 0, 0, 9, '{'},
		"no name":   frame(greeting{Version: helloVersion, Cluster: "prod", Proof: testParty("", "x").secrets[0].prove(dialer, keying())}, verdict{}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := testParty("b", "x").accept(&script{Reader: bytes.NewReader(frame)}, keying())
			if err == nil || (!errors.Is(err, errMalformed) && !errors.Is(err, io.ErrUnexpectedEOF)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func frame(messages ...any) []byte {
	var b bytes.Buffer
	if err := writeFrames(&b, messages...); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// script plays what the other side sends, and keeps what it is sent.
type script struct {
	*bytes.Reader
	sent bytes.Buffer
}

func (s *script) Write(p []byte) (int, error) { return s.sent.Write(p) }

// FuzzHello sends anything to both roles. Nothing but a proof of the secret gets in, what is answered is well formed
// and bounded, and a refusal can be logged.
func FuzzHello(f *testing.F) {
	honest := testParty("a", "x")
	f.Add(frame(honest.greeting(dialer, keying(), ""), verdict{}))
	f.Add(frame(honest.greeting(acceptor, keying(), ""), verdict{}))
	f.Add(frame(honest.greeting(acceptor, keying(), ""), verdict{Refused: "zone", Detail: "\x00\xff"}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		b := testParty("b", "x")
		for _, role := range []role{dialer, acceptor} {
			conn := &script{Reader: bytes.NewReader(sent)}
			var caller Caller
			var err error
			if role == dialer {
				caller, err = b.accept(conn, keying())
			} else {
				caller, err = b.dial(conn, keying(), "")
			}
			checkHello(t, sent, role, caller, err)
			checkFrames(t, conn.sent.Bytes())
		}
	})
}

// checkHello is told what the other side, in its role, sent and what came of it.
func checkHello(t *testing.T, sent []byte, role role, caller Caller, err error) {
	t.Helper()
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		if refused.Reason == "" || strings.ContainsFunc(refused.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("refusal %+v", refused)
		}
	case err == nil:
		var g greeting
		if readErr := readFrames(bytes.NewReader(sent), &g); readErr != nil {
			t.Fatalf("agreed although %v", readErr)
		}
		if !proves(testParty("a", "x").secrets, role, keying(), g.Proof) || g.Cluster != "prod" || caller.Node == "" || caller.Incarnation == "" {
			t.Errorf("agreed with %+v", g)
		}
	}
}

func checkFrames(t *testing.T, sent []byte) {
	t.Helper()
	for r := bytes.NewReader(sent); r.Len() > 0; {
		var message json.RawMessage
		if err := readFrames(r, &message); err != nil {
			t.Fatalf("a frame that cannot be read is sent: %v", err)
		}
	}
}
