package fsm

import (
	"strings"
	"time"
)

// KeyID names an API key to its owner: a UUID, chosen by who proposes it.
type KeyID [16]byte

// keptKey is how long an API key is listed, as expired, after its date, in milliseconds.
const keptKey = int64(30 * 24 * time.Hour / time.Millisecond)

// apiKeyPrefix begins every key that is shown.
const apiKeyPrefix = "zak_"

// HashAPIKey returns the hash under which the state has a key: of what stands behind "zak_", as zot has it, so that keys
// that were imported go on working.
func HashAPIKey(key string) SecretHash { return HashSecret(strings.TrimPrefix(key, apiKeyPrefix)) }

// APIKey is an API key; the key itself is nowhere, only its SHA-256.
type APIKey struct {
	ID       KeyID    `cbor:"1,keyasint"`
	Owner    string   `cbor:"2,keyasint"`
	Label    string   `cbor:"3,keyasint,omitempty"`
	Scopes   []string `cbor:"4,keyasint,omitempty"` // repository globs; none: all that the owner may
	Creator  string   `cbor:"5,keyasint,omitempty"` // the user agent that asked for it
	Created  int64    `cbor:"6,keyasint"`           // Unix milliseconds
	Expires  int64    `cbor:"7,keyasint,omitempty"` // Unix milliseconds; 0: never
	LastUsed int64    `cbor:"8,keyasint,omitempty"` // Unix milliseconds; 0: not yet
	Groups   []string `cbor:"9,keyasint,omitempty"` // of the owner, as they were when it was made
}

// Expired reports whether the key is over at a date.
func (k APIKey) Expired(now time.Time) bool { return k.Expires != 0 && k.Expires <= now.UnixMilli() }

// APIKey returns the key with a hash, also if it is expired.
func (v View) APIKey(hash SecretHash) (APIKey, bool) {
	return load[APIKey](v.reader, apiKeys, hash[:])
}

// APIKeyOf returns the key of an owner with an id, also if it is expired.
func (v View) APIKeyOf(owner string, id KeyID) (APIKey, bool) {
	hash := v.get(apiKeysOf, apiKeyOf(owner, id))
	if hash == nil {
		return APIKey{}, false
	}
	return load[APIKey](v.reader, apiKeys, hash)
}

// APIKeys returns the keys of an owner, expired ones too, by id.
func (v View) APIKeys(owner string) (all []APIKey) {
	for _, hash := range v.scan(apiKeysOf, within(owner), nil) {
		k, _ := load[APIKey](v.reader, apiKeys, hash)
		all = append(all, k)
	}
	return all
}

// ExpiredAPIKeys reports whether ExpireAPIKeys would find any at a date.
func (v View) ExpiredAPIKeys(now time.Time) bool { return v.due(apiKeysUntil, now.UnixMilli()-keptKey) }

// indexes lists where a key stands beside its own record.
func (k APIKey) indexes(hash SecretHash) []indexKey {
	all := []indexKey{{bucket: apiKeysOf, key: string(apiKeyOf(k.Owner, k.ID)), value: string(hash[:])}}
	if k.Expires != 0 {
		all = append(all, indexKey{bucket: apiKeysUntil, key: dateKey(k.Expires) + string(hash[:])})
	}
	return all
}

func apiKeyOf(owner string, id KeyID) []byte { return within(owner, string(id[:])) }

func (t *tx) removeAPIKey(hash SecretHash) {
	if k, known := load[APIKey](t.reader, apiKeys, hash[:]); known {
		t.del(apiKeys, hash[:])
		t.reindex(k.indexes(hash), nil)
	}
}
