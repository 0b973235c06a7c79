package peer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A token is what a new machine shows in place of the secret, which it does not have yet. In base64url it holds,
// one after the other: the version, the expiry in Unix seconds (eight bytes, big endian), an id that is drawn for it,
// the SHA-256 of the CA that is derived from the first line of the secret, and a MAC of all that under the first
// line. The CA is in it so that the machine hands it to nobody else, the MAC so that nobody else can make one.
const (
	tokenVersion = 1
	tokenIDSize  = 16
	tokenBody    = 1 + 8 + tokenIDSize + sha256.Size
	tokenSize    = tokenBody + sha256.Size
	tokenKey     = "join" // for Keys.Derive
)

// TokenLife is how long a token is good for.
const TokenLife = time.Hour

// token is what was read from a text; that it is genuine is not said by that.
type token struct {
	id      [tokenIDSize]byte
	expires time.Time
	pin     [sha256.Size]byte
	signed  [tokenBody]byte
	mac     [sha256.Size]byte
}

var errNoToken = errors.New("not a whole token")

// newToken draws a token that pins the derived CA of the keys' first line.
func newToken(keys Keys, pin [sha256.Size]byte, expires time.Time) string {
	b := make([]byte, 0, tokenSize)
	b = append(b, tokenVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(max(0, expires.Unix())))
	var id [tokenIDSize]byte
	_, _ = rand.Read(id[:]) // never fails
	b = append(b, id[:]...)
	b = append(b, pin[:]...)
	b = append(b, tokenMAC(keys.Derive(tokenKey, sha256.Size)[0], b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseToken(text string) (t token, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSpace(text))
	switch {
	case err != nil:
		return t, fmt.Errorf("%w: it has characters that no token has", errNoToken)
	case len(b) > 0 && b[0] != tokenVersion:
		return t, fmt.Errorf("%w, or one of another version of zot", errNoToken)
	case len(b) != tokenSize:
		return t, fmt.Errorf("%w: it has %d bytes, a token has %d", errNoToken, len(b), tokenSize)
	}
	seconds := binary.BigEndian.Uint64(b[1:])
	if seconds > 1<<40 {
		return t, fmt.Errorf("%w: its expiry is no date", errNoToken)
	}
	t.expires = time.Unix(int64(seconds), 0) // bounded above
	rest := bytes.NewReader(b[9:])
	for _, part := range [][]byte{t.id[:], t.pin[:], t.mac[:]} {
		_, _ = rest.Read(part) // the length was compared
	}
	copy(t.signed[:], b)
	return t, nil
}

// genuine reports whether the token was made under one of the lines.
func (t token) genuine(keys Keys) bool {
	for _, key := range keys.Derive(tokenKey, sha256.Size) {
		if hmac.Equal(tokenMAC(key, t.signed[:]), t.mac[:]) {
			return true
		}
	}
	return false
}

func tokenMAC(key, signed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	return mac.Sum(nil)
}
