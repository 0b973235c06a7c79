package fsm

import (
	"errors"
	"time"
)

const (
	// keptToken is how long a spent token is remembered after its expiry, in milliseconds: dates are those of the
	// leader's clock, and the next leader's may be behind.
	keptToken = int64(24 * time.Hour / time.Millisecond)
	// forgottenTokens bounds what one command removes of those that nobody needs to know any more.
	forgottenTokens = 100
)

// TokenID tells one invitation to the cluster from every other: random, drawn by whoever makes the token.
type TokenID [16]byte

// SpendToken uses up a token that lets one new machine in: of all who show it, at whichever node, the first gets
// what it is for. Joiner is who that is, by a secret of its own: asking again, as after an answer that was lost,
// changes nothing and is not refused.
//
// That the token is genuine is not judged here: who proposes the command has seen to that.
//
// Refused with:
//   - ErrTokenExpired if its expiry is not after the date of the entry
//   - ErrTokenSpent if another joiner had it
type SpendToken struct {
	Token   TokenID    `cbor:"1,keyasint"`
	Joiner  SecretHash `cbor:"2,keyasint"`
	Expires int64      `cbor:"3,keyasint"` // Unix milliseconds
}

// spending is what is known of a token that was spent.
type spending struct {
	Joiner SecretHash `cbor:"1,keyasint"`
}

func (SpendToken) wire() kind { return kind{"spend-token", 1} }

func (c SpendToken) check() error {
	if c.Expires <= 0 {
		return errors.New("a token without an expiry")
	}
	return nil
}

func (c SpendToken) apply(t *tx) (None, error) {
	key := []byte(dateKey(c.Expires) + string(c.Token[:]))
	before, spent := load[spending](t.reader, spentTokens, key)
	switch {
	case c.Expires <= t.date:
		return None{}, ErrTokenExpired
	case spent && before.Joiner != c.Joiner:
		return None{}, ErrTokenSpent
	}
	t.forgetTokens()
	t.save(spentTokens, key, spending{c.Joiner})
	return None{}, nil
}

// forgetTokens removes tokens that expired so long ago that no leader's clock can make them good again.
func (t *tx) forgetTokens() {
	var over [][]byte
	for key := range t.scan(spentTokens, nil, nil) {
		if len(over) == forgottenTokens || string(key[:8]) > dateKey(t.date-keptToken) {
			break
		}
		over = append(over, append([]byte{}, key...))
	}
	for _, key := range over {
		t.del(spentTokens, key)
	}
}

// tokens checks that each spent token lies where it would be looked for.
func (c *checker) tokens() {
	for key, value := range c.v.scan(spentTokens, nil, nil) {
		mustDecode[spending](value)
		if len(key) != 8+len(TokenID{}) {
			c.found("spent token under a key of %d bytes", len(key))
		}
	}
}
