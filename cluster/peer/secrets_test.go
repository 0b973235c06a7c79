package peer

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"testing/quick"

	"github.com/hashicorp/memberlist"
)

// TestDerivedKeysStay: nodes of different versions meet in one cluster, so what a line gives must never change.
func TestDerivedKeysStay(t *testing.T) {
	s := secret("0123456789abcdef0123456789abcdef")
	authority, _, err := s.authority()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		got  []byte
		want string
	}{
		"CA seed":         {s.derive(labelCA, 32), "7cce3831cd2ef28bc6b359e1b90c90755b40fdfb51dd03a88387068170c26001"},
		"gossip":          {s.derive(labelGossip, 32), "4b9de9645127a4057d58cb4f35813e4a224aebb3eaa675dd6e1ef630bf67513f"},
		"hello":           {s.derive(labelHello, 32), "1ac685b5db4f6244ed03ff68d5ea19b38254e531972c0a9424ad7c5392f2dd24"},
		"token":           {Keys{secrets: []secret{s}}.Derive("session", 32)[0], "a0f016df82ccc6aa75f7d440b25db0fc176906fbb95eaee4c311de5c28c70f41"},
		"proof":           {s.prove(dialer, keying()), "a9d57e123a483dfaee50555f72f3a6e5646b4af8c10d3abd8daf83ab79c96913"},
		"CA's public key": {authority.RawSubjectPublicKeyInfo[12:], "50b854367e742439fd71fe6fe41bbebc98e53fddc6ae9ca00b32a65b5d75c3bc"},
	} {
		if got := hex.EncodeToString(test.got); got != test.want {
			t.Errorf("%s is %s, want %s", name, got, test.want)
		}
	}
}

func TestAuthorityIsTheSameOnEveryNode(t *testing.T) {
	a, _, err := secret(strings.Repeat("x", 32)).authority()
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := secret(strings.Repeat("x", 32)).authority()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := secret(strings.Repeat("y", 32)).authority()
	if err != nil {
		t.Fatal(err)
	}
	if !a.Equal(b) || bytes.Equal(a.RawSubject, other.RawSubject) {
		t.Error("one line gives two CAs, or two lines one name")
	}
}

// TestReplaceKeys goes from any ring to any other, and sees that a slice that a reader took meanwhile stays as it was.
func TestReplaceKeys(t *testing.T) {
	keys := func(ids []byte) (keys [][]byte) {
		seen := make(map[byte]bool)
		for _, id := range append(ids, 0) {
			if id %= 6; !seen[id] {
				keys = append(keys, bytes.Repeat([]byte{id}, 32))
			}
			seen[id] = true
		}
		return keys
	}
	equal := func(a, b [][]byte) bool {
		return bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil))
	}
	check := func(before, after []byte) bool {
		ring, err := memberlist.NewKeyring(keys(before), keys(before)[0])
		if err != nil {
			t.Fatal(err)
		}
		taken := ring.GetKeys()
		if err := replaceKeys(ring, keys(after)); err != nil {
			t.Fatal(err)
		}
		return equal(ring.GetKeys(), keys(after)) && equal(taken, keys(before))
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}
