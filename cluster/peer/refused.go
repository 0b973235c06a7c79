package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode"
)

// Reason says which one thing differs between two nodes that do not talk to each other.
type Reason string

// The reasons for which a connection is refused.
const (
	ClusterName Reason = "cluster name"
	Incarnation Reason = "incarnation" // another node, or one whose disk was replaced, answers
	Secret      Reason = "secret"
	Version     Reason = "version"     // of the protocol between nodes
	Certificate Reason = "certificate" // only with certificates of one's own; derived ones are the secret
)

const maxDetail = 600 // bytes, so that a verdict stays below the limit of a frame however it is escaped

// RefusedError says that one of two nodes does not want to talk to the other. Trying again helps only after
// somebody has changed something, or when the other node's address was out of date (Incarnation).
type RefusedError struct {
	Reason Reason
	Detail string // a sentence that names both nodes
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused, the %s differs: %s", e.Reason, e.Detail)
}

func refuse(reason Reason, format string, args ...any) *RefusedError {
	return &RefusedError{Reason: reason, Detail: printable(fmt.Sprintf(format, args...))}
}

// printable makes a text fit for a log line and a frame: what the other side sent ends in both.
func printable(text string) string {
	if len(text) > maxDetail {
		text = text[:maxDetail]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// certificateError is what verify finds; explain makes a refusal of it.
type certificateError struct {
	reason Reason
	text   string
}

func (e *certificateError) Error() string { return "certificate not accepted: " + e.text }

// explain turns what TLS says into a refusal that names the cause, on the side that did not accept a certificate and
// on the side whose certificate was not accepted; with derived certificates both mean that the secrets differ. Other
// errors are returned as they are.
func (p *Peer) explain(err error, address string) error {
	if refused, ok := errors.AsType[*certificateError](err); ok {
		if refused.reason == Certificate {
			return refuse(Certificate, "the certificate of the node at %s is not accepted by the configured CA: %s", address, refused.text)
		}
		return refuse(Secret, "the first line of the secretFile of the node at %s is no line of this node's (%q)", address, p.self.Node)
	}
	switch alert, certificate := remoteAlert(err); {
	case certificate && p.own != nil:
		return refuse(Certificate, "the node at %s does not accept the certificate of this node (%q): %s", address, p.self.Node, alert)
	case certificate:
		return refuse(Secret, "the first line of this node's (%q) secretFile is no line of the node's at %s", p.self.Node, address)
	case alert == noProtocol().Error():
		return fmt.Errorf("the node at %s does not serve this protocol: %w", address, err)
	default:
		return err
	}
}

func noProtocol() tls.AlertError { return tls.AlertError(120) } // no_application_protocol, RFC 7301

// remoteAlert returns the text of the TLS alert that the other side sent, if err is one, and whether it is about
// this side's certificate (RFC 8446, 6.2). crypto/tls shows alerts received over TCP only by their text.
func remoteAlert(err error) (alert string, certificate bool) {
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" {
		return "", false
	}
	alert = remote.Err.Error()
	for _, code := range []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 51, 116} {
		if alert == code.Error() {
			return alert, true
		}
	}
	return alert, false
}
