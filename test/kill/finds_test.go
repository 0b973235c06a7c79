package kill_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/opencontainers/go-digest"
)

// at is an operation on one tag between two seconds.
func at(began, ended int, c call, a answer) *operation {
	o := &operation{key: key{"r", "t"}, call: c, answer: a, began: time.Duration(began) * time.Second, ended: time.Duration(ended) * time.Second}
	if ended == 0 {
		o.ended = forever
	}
	return o
}

// TestHistories checks that the checker accepts what may happen and finds what may not.
func TestHistories(t *testing.T) {
	puts := func(v value) call { return call{put, v} }
	sees := func(v value) answer { return answer{done, v} }
	reads, removes, ok, no, open := call{action: read}, call{action: remove}, answer{verdict: done}, answer{verdict: refused}, answer{}
	for name, c := range map[string]struct {
		history []*operation
		want    porcupine.CheckResult
	}{
		"a put is read":                            {[]*operation{at(1, 2, puts(1), ok), at(3, 4, reads, sees(1))}, porcupine.Ok},
		"a put is lost":                            {[]*operation{at(1, 2, puts(1), ok), at(3, 4, reads, sees(0))}, porcupine.Illegal},
		"a read goes back":                         {[]*operation{at(1, 2, puts(1), ok), at(3, 9, puts(2), ok), at(4, 5, reads, sees(2)), at(6, 7, reads, sees(1))}, porcupine.Illegal},
		"an unknown put takes effect late":         {[]*operation{at(1, 2, puts(1), ok), at(3, 0, puts(2), open), at(4, 5, reads, sees(1)), at(8, 9, reads, sees(2))}, porcupine.Ok},
		"an unknown put takes effect twice":        {[]*operation{at(1, 0, puts(2), open), at(2, 3, reads, sees(2)), at(4, 5, puts(1), ok), at(6, 7, reads, sees(2))}, porcupine.Illegal},
		"an unknown put never takes effect":        {[]*operation{at(1, 0, puts(2), open), at(2, 3, reads, sees(0))}, porcupine.Ok},
		"a deleted tag comes back":                 {[]*operation{at(1, 2, puts(1), ok), at(3, 4, removes, ok), at(5, 6, reads, sees(1))}, porcupine.Illegal},
		"a tag that exists cannot be deleted":      {[]*operation{at(1, 2, puts(1), ok), at(3, 4, removes, no)}, porcupine.Illegal},
		"a tag that does not exist is deleted":     {[]*operation{at(3, 4, removes, ok)}, porcupine.Illegal},
		"a manifest takes its tag along":           {[]*operation{at(1, 2, puts(1), ok), at(3, 4, call{untag, 1}, ok), at(5, 6, reads, sees(0))}, porcupine.Ok},
		"a manifest leaves its tag behind":         {[]*operation{at(1, 2, puts(1), ok), at(3, 4, call{untag, 1}, ok), at(5, 6, reads, sees(1))}, porcupine.Illegal},
		"a manifest takes the tag of another":      {[]*operation{at(1, 2, puts(2), ok), at(3, 4, call{untag, 1}, ok), at(5, 6, reads, sees(0))}, porcupine.Illegal},
		"a manifest that a tag names is not there": {[]*operation{at(1, 2, puts(1), ok), at(3, 4, call{untag, 1}, no)}, porcupine.Illegal},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _, _ := check(c.history, time.Minute); got != c.want {
				t.Errorf("the checker says %s, want %s", got, c.want)
			}
		})
	}
}

// TestDoubts checks which reads may get a 503: those of what was perhaps not there.
func TestDoubts(t *testing.T) {
	reads, removes, ok, open := call{action: read}, call{action: remove}, answer{verdict: done}, answer{}
	for name, c := range map[string]struct {
		history []*operation
		want    bool
	}{
		"nothing was put":                      {nil, true},
		"it was put":                           {[]*operation{at(1, 2, call{put, 1}, ok)}, false},
		"it is being put":                      {[]*operation{at(1, 11, call{put, 1}, ok)}, true},
		"it was put and removed":               {[]*operation{at(1, 2, call{put, 1}, ok), at(3, 4, removes, ok)}, true},
		"its removal was never decided":        {[]*operation{at(1, 2, call{put, 1}, ok), at(3, 0, removes, open), at(5, 6, call{put, 2}, ok)}, true},
		"it was put after the removal":         {[]*operation{at(1, 2, removes, ok), at(3, 4, call{put, 1}, ok)}, false},
		"another image's manifest was removed": {[]*operation{at(1, 2, call{put, 1}, ok), at(3, 4, call{untag, 2}, answer{verdict: refused})}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			for _, o := range c.history {
				h.add(o)
			}
			if got := h.maybeEmpty(at(10, 12, reads, answer{})); got != c.want {
				t.Errorf("the tag may have been empty: %t, want %t", got, c.want)
			}
		})
	}
}

// TestCompare checks that no other byte than was pushed goes through, from any offset on.
func TestCompare(t *testing.T) {
	c := newContent(7, 3*pageSize+5, digest.SHA256)
	whole, err := io.ReadAll(c.from(0))
	if err != nil || int64(len(whole)) != c.size {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	if n, err := compare(strings.NewReader(string(whole[100:pageSize+9])), c, 100, pageSize+9); n != pageSize-91 || err != nil {
		t.Errorf("the right part: %d, %v", n, err)
	}
	isWrong := func(err error) bool { _, wrong := errors.AsType[*wrongError](err); return wrong }
	flipped := bytes.Clone(whole)
	flipped[2*pageSize+1] ^= 1
	if _, err := compare(bytes.NewReader(flipped), c, 0, c.size); !isWrong(err) {
		t.Errorf("a flipped bit: %v", err)
	}
	if _, err := compare(bytes.NewReader(append(whole, 0)), c, 0, c.size); !isWrong(err) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := compare(bytes.NewReader(whole[:pageSize+1]), c, 0, c.size); err == nil || isWrong(err) {
		t.Errorf("a stream that broke off: %v", err)
	}
}
