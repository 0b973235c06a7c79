package peer

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// JoinProtocol is spoken by a machine that does not have the secret yet: no certificate of its own, no hello, one
// frame with a token, and the lines of the secret in answer. It is the one way past the hello.
const JoinProtocol = "zot-join/1"

const (
	joinVersion  = 1
	spendTimeout = 10 * time.Second
	joinTimeout  = spendTimeout + 5*time.Second // for all that follows a genuine token
	joinerSize   = 16                           // bytes

	// The most of the secret that can be handed over: a frame a line.
	maxLines = 64
	maxLine  = maxFrame / 2
)

// Invitation is a genuine token, and who shows it.
type Invitation struct {
	Token   [tokenIDSize]byte // its id
	Expires time.Time
	Joiner  [joinerSize]byte // who shows it: a secret of his, the same when he asks again
	Node    string           // his name, as he says
}

// Spend uses a token up, for the whole cluster, and returns nil to the first joiner that it is called for, each
// time. It returns ErrTokenSpent to others, ErrTokenExpired if the cluster finds the token expired, and any other
// error if it is not decided or not known what became of it. Calls do not run concurrently.
type Spend = func(ctx context.Context, i Invitation) error

// What a Spend has against a token.
var (
	ErrTokenSpent   = errors.New("token spent by another joiner")
	ErrTokenExpired = errors.New("token expired")
)

// joinRequest is the one frame of the joiner.
type joinRequest struct {
	Version int    `json:"version"`
	Token   string `json:"token"`
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	Joiner  []byte `json:"joiner"`
}

// joinAnswer is followed by as many frames as it says, each a joinLine.
type joinAnswer struct {
	Refused JoinReason `json:"refused,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Node    string     `json:"node"`
	Clock   int64      `json:"clock"` // Unix milliseconds
	Lines   int        `json:"lines"`
}

type joinLine struct {
	Line []byte `json:"line"`
}

// host is how this node shows itself to a machine that knows no more than the pin in its token. It is derived also
// where the operator has certificates of his own, as a token can pin only what all nodes have alike.
type host struct {
	certificate *tls.Certificate
	pin         [sha256.Size]byte
}

func newHost(s secret, node string) (*host, error) {
	authority, key, err := s.authority()
	if err != nil {
		return nil, err
	}
	certificate, err := issue(node, authority, key)
	if err != nil {
		return nil, err
	}
	certificate.Certificate = append(certificate.Certificate, authority.Raw)
	return &host{certificate: certificate, pin: sha256.Sum256(authority.Raw)}, nil
}

func (h *host) tls() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*h.certificate},
		NextProtos:             []string{JoinProtocol},
		SessionTicketsDisabled: true,
	}
}

// Invite makes a token that is good for TokenLife from now, and says until when. It is genuine to all nodes that
// have the first line of this node's secret.
//
// It fails if the secret has more or longer lines than are handed over.
func (p *Peer) Invite(now time.Time) (text string, expires time.Time, err error) {
	trust := p.trust.Load()
	if err := handable(trust.secrets); err != nil {
		return "", time.Time{}, err
	}
	expires = now.Add(TokenLife).Truncate(time.Second)
	return newToken(Keys{secrets: trust.secrets}, trust.host.pin, expires), expires, nil
}

func handable(secrets []secret) error {
	if len(secrets) > maxLines {
		return fmt.Errorf("the secret has %d lines, at most %d are handed to a new machine: copy the secretFile there by hand", len(secrets), maxLines)
	}
	for i, line := range secrets {
		if len(line) > maxLine {
			return fmt.Errorf("line %d of the secret has %d bytes, at most %d are handed to a new machine: copy the secretFile there by hand", i+1, len(line), maxLine)
		}
	}
	return nil
}

// TakeIn has the node hand the lines of its secret to who shows a genuine token that spend accepts. Until then it
// knows nothing of JoinProtocol. It may be called at any time.
func (p *Peer) TakeIn(spend Spend) { p.spend.Store(&spend) }

// joins reports whether a client speaks JoinProtocol, and this node too.
func (p *Peer) joins(hello *tls.ClientHelloInfo) bool {
	return p.spend.Load() != nil && slices.Equal(hello.SupportedProtos, []string{JoinProtocol})
}

// meet hears a stranger out, within the time of a handshake and while he waits in the lobby. Only who has a genuine
// token is worth more than that: his connection is returned with what is to be done with it.
func (p *Peer) meet(ctx context.Context, raw net.Conn, session *tls.Conn) (*conn, func(*conn), error) {
	invitation, err := p.hear(session, raw.RemoteAddr().String(), time.Now())
	if err != nil {
		return nil, nil, err
	}
	c, err := p.hold(raw, session, Caller{Node: invitation.Node})
	return c, func(c *conn) { p.welcome(ctx, c, invitation) }, err
}

// hear reads what the stranger shows and judges it, by the clock of this node. A refusal is sent before it is returned.
func (p *Peer) hear(conn io.ReadWriter, address string, now time.Time) (Invitation, error) {
	var r joinRequest
	if err := readFrames(conn, &r); err != nil {
		return Invitation{}, err
	}
	t, refused := p.examine(r, now)
	if refused != nil {
		p.turnAway(address, refused)
		return Invitation{}, errors.Join(refused, writeFrames(conn, p.answer(refused, now)))
	}
	return Invitation{Token: t.id, Expires: t.expires, Joiner: [joinerSize]byte(r.Joiner), Node: r.Node}, nil
}

// examine looks at the MAC before all that it guards: who does not hold a genuine token is told nothing of the cluster.
func (p *Peer) examine(r joinRequest, now time.Time) (token, *JoinError) {
	t, err := parseToken(r.Token)
	switch {
	case r.Version != joinVersion:
		return t, joinRefused(JoinVersion, "the new machine speaks version %d of joining, this node version %d", r.Version, joinVersion)
	case err != nil:
		return t, joinRefused(TokenMalformed, "%v", err)
	case len(r.Joiner) != joinerSize || r.Node == "" || len(r.Node) > maxNode:
		return t, joinRefused(TokenMalformed, "the new machine does not say who it is")
	case !t.genuine(p.Keys()):
		return t, joinRefused(TokenForeign, "the token was not made under a secret that is in use here")
	case r.Cluster != p.cluster:
		return t, joinRefused(JoinCluster, "the new machine is to be of cluster %q, node %q is of cluster %q", r.Cluster, p.self.Node, p.cluster)
	case !now.Before(t.expires):
		return t, joinRefused(TokenExpired, "the token expired at %s, by the clock of node %q it is %s", date(t.expires), p.self.Node, date(now))
	}
	return t, nil
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// turnAway logs a refusal once a minute for each host and reason; what is not even genuine only for those who
// debug, as for all strangers.
func (p *Peer) turnAway(address string, refused *JoinError) {
	if refused.Reason == TokenMalformed || refused.Reason == TokenForeign || refused.Reason == JoinVersion {
		return // admit's caller logs it
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	const message = "new machine refused"
	if p.refusals.allow(message+"\x00"+host+"\x00"+string(refused.Reason), time.Now()) {
		p.logger.Warn(message, "address", address, "reason", string(refused.Reason), "detail", refused.Detail)
	}
}

func (p *Peer) answer(refused *JoinError, now time.Time) joinAnswer {
	a := joinAnswer{Node: p.self.Node, Clock: now.UnixMilli()}
	if refused != nil {
		a.Refused, a.Detail = refused.Reason, refused.Detail
	}
	return a
}

// welcome spends the token and hands the secret over. The connection is its to close.
func (p *Peer) welcome(ctx context.Context, c *conn, i Invitation) {
	defer c.Close() //nolint:errcheck // the joiner has read all by then, or asks again
	if err := c.SetDeadline(time.Now().Add(joinTimeout)); err != nil {
		return
	}
	address := c.RemoteAddr().String()
	frames, refused := p.spent(ctx, i)
	if refused != nil {
		p.turnAway(address, refused)
	}
	if err := writeFrames(c, frames...); err != nil {
		p.logger.Warn("new machine did not take its answer", "address", address, "node", printable(i.Node), "error", err)
		return
	}
	if refused == nil {
		p.logger.Info("secret handed to a new machine", "address", address, "node", printable(i.Node))
	}
}

// spent is the answer to a genuine token. One is spent at a time: a token in many wrong hands must not fill the log.
func (p *Peer) spent(ctx context.Context, i Invitation) ([]any, *JoinError) {
	ctx, cancel := context.WithTimeout(ctx, spendTimeout)
	defer cancel()
	refused := p.spendOnce(ctx, i)
	secrets := p.trust.Load().secrets
	if err := handable(secrets); err != nil && refused == nil {
		refused = joinRefused(JoinUndecided, "%v", err)
	}
	answer := p.answer(refused, time.Now())
	if refused != nil {
		return []any{answer}, refused
	}
	answer.Lines = len(secrets)
	frames := []any{answer}
	for _, line := range secrets {
		frames = append(frames, joinLine{line})
	}
	return frames, nil
}

func (p *Peer) spendOnce(ctx context.Context, i Invitation) *JoinError {
	select {
	case p.spending <- struct{}{}:
		defer func() { <-p.spending }()
	case <-ctx.Done():
		return joinRefused(JoinUndecided, "node %q is busy with other new machines", p.self.Node)
	}
	err := (*p.spend.Load())(ctx, i)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTokenSpent):
		return joinRefused(TokenSpent, "the token was used by another machine, and each is good once")
	case errors.Is(err, ErrTokenExpired):
		return joinRefused(TokenExpired, "the token expired at %s, by the clock of the cluster's leader", date(i.Expires))
	default:
		return joinRefused(JoinUndecided, "the cluster cannot use the token up now: %v", err)
	}
}
