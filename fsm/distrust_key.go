package fsm

import (
	"bytes"
	"fmt"
)

// DistrustKey has no signature believed any more by a public key, or by certificates, in whichever stores they are.
//
// Refused with ErrTrustedKeyUnknown if there are none with this digest.
type DistrustKey struct {
	Tool   SigningTool `cbor:"1,keyasint"`
	Digest Digest      `cbor:"2,keyasint"` // of the content
}

func (DistrustKey) wire() kind { return kind{"distrust-key", 1} }

func (c DistrustKey) check() error {
	switch {
	case !c.Tool.known():
		return fmt.Errorf("signing tool %d is not known", c.Tool)
	case c.Digest == "":
		return errNoDigest
	}
	return nil
}

func (c DistrustKey) apply(t *tx) (None, error) {
	if !c.Tool.known() || c.Digest == "" { // then more would go
		return None{}, ErrInvalid
	}
	var all [][]byte // 100 at most
	for key := range t.scan(trusted, trustedContent(c.Tool, c.Digest), nil) {
		all = append(all, bytes.Clone(key))
	}
	if len(all) == 0 {
		return None{}, ErrTrustedKeyUnknown
	}
	for _, key := range all {
		t.del(trusted, key)
	}
	return None{}, nil
}
