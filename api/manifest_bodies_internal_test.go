package api

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// What is kept never has more bytes than it may, and what was asked for last stays.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBodies(10)
	for _, text := range []string{"one", "two", "three", "two"} { // twice is once
		b.keep(digest.FromString(text), []byte(text))
	}
	expect := func(texts ...string) {
		t.Helper()
		var size int64
		for _, text := range texts {
			body, ok := b.find(digest.FromString(text))
			if !ok || string(body) != text {
				t.Errorf("%s: %q, %t", text, body, ok)
			}
			size += int64(len(text))
		}
		if b.size != size || len(b.at) != len(texts) || b.order.Len() != len(texts) {
			t.Errorf("%d bytes of %d bodies, want %s", b.size, len(b.at), strings.Join(texts, " "))
		}
	}
	expect("three", "two") // "one" had to go
	b.keep(digest.FromString("four"), []byte("four"))
	expect("two", "four")
	b.keep(digest.FromString("seventeen letters"), []byte("seventeen letters"))
	expect()
}
