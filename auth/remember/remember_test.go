package remember_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/auth/remember"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	k := remember.NewKeys()
	first := k.Of("ab", "c")
	if k.Of("ab", "c") != first {
		t.Error("a key is another the second time")
	}
	for _, other := range [][]string{{"a", "bc"}, {"abc"}, {"ab", "c", ""}, {"c", "ab"}, {"ab" + strings.Repeat("\x00", 8) + "c"}} {
		if k.Of("ab", "c") == k.Of(other...) {
			t.Errorf("%q has the key of another", other)
		}
	}
	if k.Of("ab", "c") == remember.NewKeys().Of("ab", "c") {
		t.Error("a key says something to who does not have the secret")
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := remember.New[int]()
		m.Keep(m.Of("a"), 1)
		time.Sleep(time.Minute - time.Nanosecond)
		if v, ok := m.Find(m.Of("a")); !ok || v != 1 {
			t.Errorf("within a minute: %d, %v", v, ok)
		}
		time.Sleep(time.Nanosecond)
		if v, ok := m.Find(m.Of("a")); ok || v != 0 {
			t.Errorf("after a minute: %d, %v", v, ok)
		}
		m.Keep(m.Of("a"), 1)
		m.Keep(m.Of("b"), 2)
		m.Forget(m.Of("a"))
		m.Forget(m.Of("c"))
		if v, ok := m.Find(m.Of("a")); ok || v != 0 {
			t.Errorf("what is forgotten: %d, %v", v, ok)
		}
		if v, ok := m.Find(m.Of("b")); !ok || v != 2 {
			t.Errorf("beside what is forgotten: %d, %v", v, ok)
		}
		for n := range 10_001 {
			m.Keep(m.Of(strconv.Itoa(n)), n)
		}
		if _, ok := m.Find(m.Of("1")); ok {
			t.Error("there is no end to what is remembered")
		}
		if v, ok := m.Find(m.Of("10000")); !ok || v != 10_000 {
			t.Error("the latest is forgotten")
		}
	})
}
