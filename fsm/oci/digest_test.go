package oci_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm/oci"
)

func TestParseDigest(t *testing.T) {
	t.Parallel()
	sha256, sha512 := strings.Repeat("0123456789abcdef", 4), strings.Repeat("0123456789abcdef", 8)
	for name, test := range map[string]struct {
		in string
		ok bool
	}{
		"sha256":               {"sha256:" + sha256, true},
		"sha512":               {"sha512:" + sha512, true},
		"sha384":               {"sha384:" + strings.Repeat("0", 96), false},
		"unknown algorithm":    {"blake3:" + sha256, false},
		"upper-case algorithm": {"SHA256:" + sha256, false},
		"upper-case hex":       {"sha256:" + strings.ToUpper(sha256), false},
		"not hex":              {"sha256:" + strings.Repeat("g", 64), false},
		"one bad in the midst": {"sha256:" + sha256[:31] + "g" + sha256[32:], false},
		"short":                {"sha256:" + sha256[1:], false},
		"long":                 {"sha256:" + sha256 + "0", false},
		"length of the other":  {"sha256:" + sha512, false},
		"multi-byte":           {"sha256:" + strings.Repeat("é", 32), false},
		"line feed":            {"sha256:" + sha256[1:] + "\n", false},
		"two colons":           {"sha256::" + sha256[1:], false},
		"no algorithm":         {":" + sha256, false},
		"no colon":             {sha256, false},
		"nothing after it":     {"sha256:", false},
		"conformance suite":    {"sha256:baddigeststring", false},
		"empty":                {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := oci.ParseDigest(test.in)
			if test.ok && (err != nil || string(d) != test.in) {
				t.Errorf("got %q, %v", d, err)
			}
			if !test.ok && (!errors.Is(err, oci.ErrDigestInvalid) || d != "") {
				t.Errorf("got %q, %v, want ErrDigestInvalid", d, err)
			}
		})
	}
}

func TestParseAlgorithm(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"sha256", "sha512"} {
		if alg, err := oci.ParseAlgorithm(s); err != nil || string(alg) != s {
			t.Errorf("%s: got %q, %v", s, alg, err)
		}
	}
	for _, s := range []string{"", "sha384", "SHA256", "md5"} {
		if _, err := oci.ParseAlgorithm(s); !errors.Is(err, oci.ErrDigestInvalid) {
			t.Errorf("%q: got %v, want ErrDigestInvalid", s, err)
		}
	}
}

// The compact form is in the log and on disk, so its bytes are frozen here.
func TestDigestEncodingIsFrozen(t *testing.T) {
	t.Parallel()
	for d, algorithm := range map[digest.Digest]byte{
		digest.Digest("sha256:" + strings.Repeat("a1", 32)): 1,
		digest.Digest("sha512:" + strings.Repeat("a1", 64)): 2,
	} {
		raw := bytes.Repeat([]byte{0xa1}, d.Algorithm().Size())
		want := append([]byte{'x', algorithm}, raw...)
		if got := oci.AppendDigest([]byte("x"), d); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", d, got, want)
		}
		got, rest, err := oci.DecodeDigest(append(want[1:len(want):len(want)], "rest"...))
		if err != nil || got != d || string(rest) != "rest" {
			t.Errorf("%s: decoded to %q, %q, %v", d, got, rest, err)
		}
	}
}

func TestDecodeDigestRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string][]byte{
		"nothing":           nil,
		"unknown algorithm": bytes.Repeat([]byte{3}, 100),
		"zero":              make([]byte, 100),
		"short sha256":      append([]byte{1}, make([]byte, 31)...),
		"short sha512":      append([]byte{2}, make([]byte, 63)...),
	} {
		if d, rest, err := oci.DecodeDigest(in); !errors.Is(err, oci.ErrDigestInvalid) || d != "" || rest != nil {
			t.Errorf("%s: got %q, %x, %v", name, d, rest, err)
		}
	}
}

func TestAppendDigestPanicsOnWhatIsNoDigest(t *testing.T) {
	t.Parallel()
	for _, d := range []digest.Digest{"", "sha256:00", digest.Digest("sha256:" + strings.Repeat("A", 64))} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was encoded", d)
				}
			}()
			oci.AppendDigest(nil, d)
		}()
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0", 64))
	f.Add("sha512:" + strings.Repeat("f", 128))
	f.Add("sha384:" + strings.Repeat("f", 96))
	f.Add("sha256:")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := oci.ParseDigest(s)
		if err != nil {
			if !errors.Is(err, oci.ErrDigestInvalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if err := d.Validate(); err != nil || string(d) != s {
			t.Fatalf("%q was taken as %q: %v", s, d, err)
		}
		back, rest, err := oci.DecodeDigest(oci.AppendDigest(nil, d))
		if err != nil || back != d || len(rest) != 0 {
			t.Fatalf("%q came back as %q, %x, %v", d, back, rest, err)
		}
	})
}

func FuzzDecodeDigest(f *testing.F) {
	f.Add(append([]byte{1}, make([]byte, 32)...))
	f.Add(append([]byte{2}, make([]byte, 70)...))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, rest, err := oci.DecodeDigest(b)
		if err != nil {
			if !errors.Is(err, oci.ErrDigestInvalid) {
				t.Fatalf("%x: %v", b, err)
			}
			return
		}
		if _, err := oci.ParseDigest(string(d)); err != nil {
			t.Fatalf("%x decoded to %q: %v", b, d, err)
		}
		if again := append(oci.AppendDigest(nil, d), rest...); !bytes.Equal(again, b) {
			t.Fatalf("%x came back as %x", b, again)
		}
	})
}
