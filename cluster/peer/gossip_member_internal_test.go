package peer

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
)

func TestDecodeMember(t *testing.T) {
	t.Parallel()
	longest := Member{
		Name: strings.Repeat("n", maxNode), Address: strings.Repeat("a", maxAdvertise), Incarnation: "i", Meta: bytes.Repeat([]byte("m"), MaxMeta),
	}
	if size := len(longest.encode()); size > memberlist.MetaMaxSize {
		t.Errorf("the longest metadata has %d bytes, memberlist takes %d", size, memberlist.MetaMaxSize)
	}
	for name, c := range map[string]struct {
		meta []byte
		want Member // without a name: refused
	}{
		"without more":             {[]byte("\x02n1\x03a:1"), Member{Name: "n1", Address: "a:1"}},
		"with more":                {[]byte("\x02n1\x03a:1\x00x"), Member{Name: "n1", Address: "a:1", Meta: []byte("\x00x")}},
		"the longest":              {longest.encode(), longest},
		"nothing":                  {nil, Member{}},
		"an empty name":            {[]byte("\x00\x03a:1"), Member{}},
		"no address":               {[]byte("\x02n1"), Member{}},
		"an empty address":         {[]byte("\x02n1\x00more"), Member{}},
		"a name that is cut off":   {[]byte("\x05n1"), Member{}},
		"an address cut off":       {[]byte("\x02n1\x04a:1"), Member{}},
		"a length that is cut off": {[]byte("\x80"), Member{}},
		"a length over 64 bits":    {bytes.Repeat([]byte{0xff}, 11), Member{}},
		"a length of 2^63":         {append(bytes.Repeat([]byte{0x80}, 9), 1), Member{}},
		"a length of 2^64-1":       {append(bytes.Repeat([]byte{0xff}, 9), 1), Member{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeMember("i", c.meta)
			if (err != nil) != (c.want.Name == "") {
				t.Fatalf("got %+v, %v", got, err)
			}
			if got.Name != c.want.Name || got.Address != c.want.Address || !bytes.Equal(got.Meta, c.want.Meta) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// FuzzDecodeMember: what is taken has a name and an address, keeps nothing of the packet, and is told to others as it
// was heard.
func FuzzDecodeMember(f *testing.F) {
	f.Add([]byte("\x02n1\x03a:1more"))
	f.Add(Member{Name: "zot-0", Address: "zot-0.zot.svc:7373", Meta: []byte{1, 2, 3}}.encode())
	f.Add([]byte{0x80, 0x80, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, meta []byte) {
		packet := bytes.Clone(meta)
		m, err := decodeMember("i", packet)
		clear(packet)
		if err != nil {
			return
		}
		if m.Name == "" || m.Address == "" || m.Incarnation != "i" || !bytes.HasSuffix(meta, m.Meta) {
			t.Errorf("%q gives %+v", meta, m)
		}
		again, err := decodeMember("i", m.encode())
		if err != nil || again.Name != m.Name || again.Address != m.Address || !slices.Equal(again.Meta, m.Meta) {
			t.Errorf("%+v becomes %+v, %v", m, again, err)
		}
	})
}
