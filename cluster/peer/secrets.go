package peer

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

const minSecret = 32 // characters in a line, as `openssl rand -hex 32` gives 64

// What a line is expanded for. Each use has a label of its own, so that no key is ever good for two things.
const (
	labelCA     = "certificate authority"
	labelHello  = "hello proof"
	labelGossip = "gossip key"
	labelToken  = "token: " // and the caller's own label
)

// secret is one line of the secretFile.
type secret []byte

func newSecrets(lines [][]byte) ([]secret, error) {
	if len(lines) == 0 {
		return nil, errors.New("the secret has no line, at least one is needed")
	}
	secrets := make([]secret, 0, len(lines))
	for i, line := range lines {
		line = bytes.TrimSpace(line)
		if len(line) < minSecret {
			return nil, fmt.Errorf("line %d of the secret has %d characters, at least %d are needed", i+1, len(line), minSecret)
		}
		secrets = append(secrets, bytes.Clone(line))
	}
	return secrets, nil
}

// derive expands the line to size bytes for one use (HKDF-SHA256, RFC 5869).
func (s secret) derive(label string, size int) []byte {
	key, err := hkdf.Key(sha256.New, s, nil, "zot cluster secret, version 1: "+label, size)
	if err != nil {
		panic(fmt.Sprintf("derive %d bytes: %v", size, err)) // only a size over 8,160 bytes, which no caller computes
	}
	return key
}

// prove is the proof that whoever plays role in the TLS session with this keying material holds the line. The role
// is in it, lest an echo of one's own proof be taken for an answer.
func (s secret) prove(role role, keying []byte) []byte {
	mac := hmac.New(sha256.New, s.derive(labelHello, sha256.Size))
	mac.Write([]byte(role))
	mac.Write([]byte{0})
	mac.Write(keying)
	return mac.Sum(nil)
}

func proves(secrets []secret, role role, keying, proof []byte) bool {
	for _, s := range secrets {
		if hmac.Equal(s.prove(role, keying), proof) {
			return true
		}
	}
	return false
}

// Keys derives keys from the lines of the secret. It holds the lines of one moment.
type Keys struct{ secrets []secret }

// Derive returns one key of size bytes (8,160 at most, else it panics) for each line. The first is the one to sign
// with, all are to verify with. Different labels give unrelated keys, none of which is used inside this package.
func (k Keys) Derive(label string, size int) [][]byte {
	keys := make([][]byte, 0, len(k.secrets))
	for _, s := range k.secrets {
		keys = append(keys, s.derive(labelToken+label, size))
	}
	return keys
}

// useGossipKeys makes the keyring hold exactly the keys of these lines: installs the new ones, uses the first, and
// removes what no line gives any more.
func (p *Peer) useGossipKeys(secrets []secret) error {
	keys := make([][]byte, 0, len(secrets))
	for _, s := range secrets {
		keys = append(keys, s.derive(labelGossip, 32))
	}
	if p.keyring == nil {
		keyring, err := memberlist.NewKeyring(keys, keys[0])
		if err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
		p.keyring = keyring
		return nil
	}
	if err := replaceKeys(p.keyring, keys); err != nil {
		return fmt.Errorf("gossip keys: %w", err)
	}
	return nil
}

// replaceKeys puts the wanted keys first, by using each in turn, before it removes the others from the end.
// Keyring.RemoveKey shifts the keys behind the removed one in place, under the eyes of whoever is decrypting with
// what GetKeys gave him; nothing stands behind the last, so removing from the end shifts nothing.
func replaceKeys(keyring *memberlist.Keyring, keys [][]byte) error {
	for _, key := range keys {
		if err := keyring.AddKey(key); err != nil {
			return err
		}
	}
	for _, key := range slices.Backward(keys) {
		if err := keyring.UseKey(key); err != nil {
			return err
		}
	}
	for _, key := range slices.Backward(keyring.GetKeys()) {
		if containsKey(keys, key) {
			break
		}
		if err := keyring.RemoveKey(key); err != nil {
			return err
		}
	}
	return nil
}

func containsKey(keys [][]byte, key []byte) bool {
	return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
}
