package fsm

import (
	"bytes"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// people checks sessions, API keys and preferences against their indexes, and trusted keys against their digests.
func (c *checker) people() {
	for key, value := range c.v.scan(sessions, nil, nil) {
		cookie, s := SecretHash(key), mustDecode[Session](value)
		c.expectAll(fmt.Sprintf("session %x of %s", cookie, s.Subject), s.indexes(cookie))
	}
	for key, value := range c.v.scan(apiKeys, nil, nil) {
		hash, k := SecretHash(key), mustDecode[APIKey](value)
		c.expectAll(fmt.Sprintf("API key %x of %s", k.ID, k.Owner), k.indexes(hash))
	}
	for key, value := range c.v.scan(trusted, nil, nil) {
		k := mustDecode[TrustedKey](value)
		if d, err := Pack(digest.FromBytes(k.Content)); err != nil || d != k.Digest || !bytes.Equal(k.key(), key) {
			c.found("trusted key %s is not what its record says", k.Digest)
		}
	}
	c.stars()
}

// stars counts the stars of each repository anew.
func (c *checker) stars() {
	counts := map[string]uint64{}
	for key, value := range c.v.scan(preferences, nil, nil) {
		if p := mustDecode[preference](value); p.Starred {
			_, repository := cutName(key)
			counts[string(repository)]++
		}
	}
	c.expected[starred] = len(counts)
	for repository, n := range counts {
		if have := c.v.Stars(repository); have != n {
			c.found("repository %s counts %d stars, %d users gave one", repository, have, n)
		}
	}
}
