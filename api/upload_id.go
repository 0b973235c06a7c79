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
)

// upload is what stands in the Location of an upload. It is in the path, because some clients drop a query.
// The repository is signed with it, so that an upload cannot be finished into another one.
type upload struct {
	id        blobstore.UploadID
	begun     int64 // state time of its POST
	algorithm digest.Algorithm
	started   bool // bytes were taken: one that no store knows any more is lost, not new
}

// The layout of an id: version, flags, upload id, state time, MAC; in base64 for URLs.
const (
	uploadVersion = 1
	uploadHead    = 2 + len(blobstore.UploadID{}) + 8
	uploadSize    = uploadHead + macSize
	macSize       = 16

	flagStarted = 1 << 0
	flagSHA512  = 1 << 1
	flagsKnown  = flagStarted | flagSHA512

	minKey = 16
)

// signer signs ids of uploads, so that a node believes one that another has made, and nobody else's.
type signer struct{ keys [][]byte }

func newSigner(keys [][]byte) (signer, error) {
	if len(keys) == 0 {
		return signer{}, errors.New("a registry needs a key to sign uploads with")
	}
	for _, k := range keys {
		if len(k) < minKey {
			return signer{}, fmt.Errorf("a key of %d bytes is too short to sign uploads with: %d at least", len(k), minKey)
		}
	}
	return signer{keys}, nil
}

// newUpload is an upload that nobody has heard of.
func newUpload(begun int64, algorithm digest.Algorithm) upload {
	u := upload{begun: begun, algorithm: algorithm}
	_, _ = rand.Read(u.id[:]) // never fails: it ends the process instead
	return u
}

// sign returns u as it stands in a path.
func (s signer) sign(repository string, u upload) string {
	b := make([]byte, 0, uploadSize)
	b = append(b, uploadVersion, u.flags())
	b = append(b, u.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(u.begun)) //nolint:gosec // two's complement there and back
	b = append(b, mac(s.keys[0], repository, b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// verify is the inverse of sign. It fails with errUploadID for what no node has signed for the repository.
func (s signer) verify(repository, text string) (upload, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != uploadSize || b[0] != uploadVersion || b[1]&^flagsKnown != 0 || !s.signed(repository, b) {
		return upload{}, fmt.Errorf("%w: its id is not one of this registry, or of another repository", errUploadID)
	}
	u := upload{
		begun:     int64(binary.BigEndian.Uint64(b[uploadHead-8:])), //nolint:gosec // as in sign
		algorithm: digest.SHA256,
		started:   b[1]&flagStarted != 0,
	}
	if b[1]&flagSHA512 != 0 {
		u.algorithm = digest.SHA512
	}
	copy(u.id[:], b[2:])
	return u, nil
}

func (s signer) signed(repository string, b []byte) bool {
	for _, key := range s.keys {
		if hmac.Equal(mac(key, repository, b[:uploadHead]), b[uploadHead:]) {
			return true
		}
	}
	return false
}

func (u upload) flags() (f byte) {
	if u.started {
		f |= flagStarted
	}
	if u.algorithm == digest.SHA512 {
		f |= flagSHA512
	}
	return f
}

// mac covers the head, whose length is fixed, and then the repository.
func mac(key []byte, repository string, head []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(head)
	h.Write([]byte(repository))
	return h.Sum(nil)[:macSize]
}
