package fsm

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// The bounds of keys by which signatures are believed. Each signature is tried with each of its tool.
const (
	maxTrustedContent = 64 << 10 // bytes
	maxTrustStore     = 128      // bytes; of its name too
	trustedOfTool     = 100
)

// TrustKey has signatures believed by a public key, or by certificates. The state does not look into it. One that is there
// already stays as it is.
//
// Refused with ErrTooMany if the tool has 100.
type TrustKey struct {
	Tool    SigningTool `cbor:"1,keyasint"`
	Store   string      `cbor:"2,keyasint,omitempty"`
	Name    string      `cbor:"3,keyasint,omitempty"`
	Content []byte      `cbor:"4,keyasint"`
	By      string      `cbor:"5,keyasint,omitempty"`
}

func (TrustKey) wire() kind { return kind{"trust-key", 1} }

func (c TrustKey) check() error {
	switch {
	case !c.Tool.known():
		return fmt.Errorf("signing tool %d is not known", c.Tool)
	case len(c.Content) == 0 || len(c.Content) > maxTrustedContent:
		return fmt.Errorf("content of %d bytes is empty or longer than %d", len(c.Content), maxTrustedContent)
	case !isTrustStore(c.Store) || !isTrustStore(c.Name):
		return fmt.Errorf("trust store %.20q or its name %.20q is longer than %d bytes or has a zero byte", c.Store, c.Name, maxTrustStore)
	case len(c.By) > maxSubject:
		return fmt.Errorf("name %.20q is longer than %d bytes", c.By, maxSubject)
	}
	return nil
}

func (c TrustKey) apply(t *tx) (None, error) {
	if !c.Tool.known() || !isTrustStore(c.Store) || !isTrustStore(c.Name) {
		return None{}, ErrInvalid
	}
	d, err := Pack(digest.FromBytes(c.Content))
	if err != nil {
		return None{}, ErrInvalid
	}
	k := TrustedKey{Tool: c.Tool, Store: c.Store, Name: c.Name, Digest: d, Content: c.Content, By: c.By, Given: t.date}
	if t.has(trusted, k.key()) {
		return None{}, nil
	}
	if n := t.countPrefix(trusted, []byte{byte(c.Tool)}, trustedOfTool); n == trustedOfTool {
		return None{}, ErrTooMany.with("%d keys to believe signatures by", n)
	}
	t.save(trusted, k.key(), k)
	return None{}, nil
}

func (s SigningTool) known() bool { return s.String() != "" }

func isTrustStore(s string) bool { return len(s) <= maxTrustStore && !strings.Contains(s, "\x00") }
