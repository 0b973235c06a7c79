package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// upload is what stands in the Location of an upload. It is in the path, because some clients drop a query.
// The repository is signed with it, so that an upload cannot be finished into another one.
type upload struct {
	id        blobstore.UploadID
	owner     blobstore.Incarnation // whose node has it; zero: nobody's yet, as far as the Location tells
	begun     int64                 // state time of its POST
	algorithm digest.Algorithm
	offset    int64 // how many bytes were there. If there were some, an upload that its owner does not know is lost, not new

	// store is that of the repository when the upload began, where its bytes are whatever becomes of the repository. Only
	// its name stands in the Location.
	store Store
}

// The layout of an id: version, flags, upload id, owner, state time, offset, length of the store's name, that name, MAC;
// in base64 for URLs. The default store has no name in it.
const (
	uploadVersion = 1
	uploadHead    = 2 + len(blobstore.UploadID{}) + len(blobstore.Incarnation{}) + 8 + 8 + 1
	macSize       = 16

	flagSHA512 = 1 << 0
	flagsKnown = flagSHA512

	minKey = 16
)

// signer signs ids of uploads, so that a node believes one that another has made, and nobody else's.
type signer struct{ keys [][]byte }

func newSigner(keys [][]byte) (*signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("a registry needs a key to sign uploads with")
	}
	for _, k := range keys {
		if len(k) < minKey {
			return nil, fmt.Errorf("a key of %d bytes is too short to sign uploads with: %d at least", len(k), minKey)
		}
	}
	return &signer{keys}, nil
}

// SetUploadKeys replaces Config.UploadKeys while the registry serves, as when the secret of the nodes is
// rotated: a node that was not started again since would sign what those with newer keys do not believe. It
// fails, and changes nothing, if the keys would not do for New.
func (g *Registry) SetUploadKeys(keys [][]byte) error {
	s, err := newSigner(keys)
	if err == nil {
		g.signer.Store(s)
	}
	return err
}

// newUpload is an upload that nobody has heard of.
func newUpload(begun int64, algorithm digest.Algorithm) upload {
	u := upload{begun: begun, algorithm: algorithm}
	_, _ = rand.Read(u.id[:]) // never fails: it ends the process instead
	return u
}

// sign returns u as it stands in a path.
func (s signer) sign(repository string, u upload) string {
	name := u.store.Name
	if name == fsm.DefaultStore {
		name = ""
	}
	b := make([]byte, 0, uploadHead+len(name)+macSize)
	b = append(b, uploadVersion, u.flags())
	b = append(b, u.id[:]...)
	b = append(b, u.owner[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(u.begun))  //nolint:gosec // two's complement there and back
	b = binary.BigEndian.AppendUint64(b, uint64(u.offset)) //nolint:gosec // never negative
	b = append(b, byte(len(name)))                         //nolint:gosec // as fsm has it
	b = append(b, name...)
	b = append(b, mac(s.keys[0], repository, b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// verify is the inverse of sign, but for the store, of which it returns the name alone. It fails with errUploadID for what
// no node has signed for the repository.
func (s signer) verify(repository, text string) (upload, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < uploadHead+macSize || b[0] != uploadVersion || b[1]&^flagsKnown != 0 || !s.signed(repository, b) {
		return upload{}, fmt.Errorf("%w: its id is not one of this registry, or of another repository", errUploadID)
	}
	u := upload{algorithm: digest.SHA256}
	if b[1]&flagSHA512 != 0 {
		u.algorithm = digest.SHA512
	}
	rest := b[2:]
	rest = rest[copy(u.id[:], rest):]
	rest = rest[copy(u.owner[:], rest):]
	u.begun = int64(binary.BigEndian.Uint64(rest))      //nolint:gosec // as in sign
	u.offset = int64(binary.BigEndian.Uint64(rest[8:])) //nolint:gosec // as in sign
	if u.store.Name = string(b[uploadHead : len(b)-macSize]); u.store.Name == "" {
		u.store.Name = fsm.DefaultStore
	}
	return u, nil
}

func (s signer) signed(repository string, b []byte) bool {
	end := len(b) - macSize
	if end != uploadHead+int(b[uploadHead-1]) {
		return false
	}
	for _, key := range s.keys {
		if hmac.Equal(mac(key, repository, b[:end]), b[end:]) {
			return true
		}
	}
	return false
}

func (u upload) flags() (f byte) {
	if u.algorithm == digest.SHA512 {
		f |= flagSHA512
	}
	return f
}

// mac covers the head, which says how long it is, and then the repository.
func mac(key []byte, repository string, head []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(head)
	h.Write([]byte(repository))
	return h.Sum(nil)[:macSize]
}
