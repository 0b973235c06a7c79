package peer

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"
)

// JoinReason says why a new machine was not handed the secret.
type JoinReason string

// The reasons for which a new machine is refused.
const (
	TokenMalformed JoinReason = "token malformed"
	TokenForeign   JoinReason = "token of another cluster" // or of a line that was removed since
	TokenExpired   JoinReason = "token expired"
	TokenSpent     JoinReason = "token spent"
	JoinCluster    JoinReason = "cluster name"
	JoinVersion    JoinReason = "version"
	JoinUndecided  JoinReason = "undecided" // the token may still be good: the same machine asks again
)

// JoinError says why a new machine was refused, by the node that it asked or by itself.
type JoinError struct {
	Reason JoinReason
	Detail string
}

func (e *JoinError) Error() string { return e.Detail }

func joinRefused(reason JoinReason, format string, args ...any) *JoinError {
	return &JoinError{Reason: reason, Detail: printable(fmt.Sprintf(format, args...))}
}

// JoinConfig is what a new machine knows when it asks to be let in.
type JoinConfig struct {
	Address string           // of a node, host:port
	Token   string           // as that node's operator was given it
	Joiner  [joinerSize]byte // random, and the same each time that this machine asks
	Cluster string           // name of the cluster that the machine is to be of
	Node    string           // stable name that it is to have
	Network Network          // default: SystemNetwork()
}

// Welcome is what a new machine is given.
type Welcome struct {
	Secrets [][]byte      // the lines of the secret, in order
	Node    string        // name of the node that answered
	Ahead   time.Duration // how much that node's clock is ahead of this machine's, in whole seconds
}

// Join asks the node at an address for the secret. The token goes to nobody who cannot prove that he holds the
// secret under which it was made. It takes 25 s at most. Beside a *JoinError, Node and Ahead of a Welcome say who
// refused.
//
// Errors:
//   - *JoinError if one of the two sides refuses. After JoinUndecided the same Joiner may ask again.
//   - ErrNotSent if the token was not shown to anybody, as the node was not reached or is no node
//   - ErrNoAnswer if no whole answer came; the token may be spent, and the same Joiner may ask again
func Join(ctx context.Context, c JoinConfig) (Welcome, error) {
	t, err := parseToken(c.Token)
	if err != nil {
		return Welcome{}, joinRefused(TokenMalformed, "%v", err)
	}
	network := c.Network
	if network == nil {
		network = SystemNetwork()
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := network.Dial(dialing, c.Address)
	if err != nil {
		return Welcome{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	defer raw.Close() //nolint:errcheck // all that is wanted was read by then
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := raw.SetDeadline(time.Now().Add(joinTimeout)); err != nil {
		return Welcome{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	session := tls.Client(raw, t.tls())
	if err := session.HandshakeContext(ctx); err != nil {
		return Welcome{}, notANode(err)
	}
	if session.ConnectionState().NegotiatedProtocol != JoinProtocol {
		return Welcome{}, fmt.Errorf("%w: %w", ErrNotSent, errors.New("no protocol for new machines is spoken there"))
	}
	w, err := c.ask(session)
	if _, refused := errors.AsType[*JoinError](err); err != nil && !refused {
		return w, fmt.Errorf("%w: %w", ErrNoAnswer, causeOf(ctx, err))
	}
	return w, err
}

// tls accepts a certificate of the pinned CA, which comes with it, whatever name it has.
func (t token) tls() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares with the pin; host names say nothing here
		VerifyConnection:   t.verify,
		NextProtos:         []string{JoinProtocol},
	}
}

func (t token) verify(state tls.ConnectionState) error {
	pool := x509.NewCertPool()
	pinned := false
	for _, certificate := range state.PeerCertificates {
		if sha256.Sum256(certificate.Raw) == t.pin {
			pool.AddCert(certificate)
			pinned = true
		}
	}
	foreign := joinRefused(TokenForeign, "who answers there is not of the cluster that the token is for, or that cluster's secret was changed since")
	if !pinned {
		return foreign
	}
	if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return foreign
	}
	return nil
}

// notANode says what a failed handshake means to somebody who typed an address.
func notANode(err error) error {
	if refused, ok := errors.AsType[*JoinError](err); ok {
		return refused
	}
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch alert, _ := remoteAlert(err); {
	case noTLS:
		return fmt.Errorf("%w: what answers there is not the port between nodes, which is that of cluster.listen", ErrNotSent)
	case alert == noProtocol().Error():
		return fmt.Errorf("%w: who answers there does not take in new machines", ErrNotSent)
	default:
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
}

// ask shows the token and reads the answer.
func (c JoinConfig) ask(conn io.ReadWriter) (w Welcome, err error) {
	r := joinRequest{Version: joinVersion, Token: c.Token, Cluster: c.Cluster, Node: c.Node, Joiner: c.Joiner[:]}
	if err := writeFrames(conn, r); err != nil {
		return w, err
	}
	var a joinAnswer
	if err := readFrames(conn, &a); err != nil {
		return w, err
	}
	w.Node, w.Ahead = printable(a.Node), time.Until(time.UnixMilli(a.Clock)).Round(time.Second)
	switch {
	case a.Refused != "":
		return w, joinRefused(a.Refused, "%s", a.Detail)
	case a.Lines < 1 || a.Lines > maxLines:
		return w, fmt.Errorf("%w: %d lines of a secret", errMalformed, a.Lines)
	}
	for range a.Lines {
		var line joinLine
		if err := readFrames(conn, &line); err != nil {
			return w, err
		}
		w.Secrets = append(w.Secrets, line.Line)
	}
	if _, err := newSecrets(w.Secrets); err != nil {
		return w, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return w, nil
}
