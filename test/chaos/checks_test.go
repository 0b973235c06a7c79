package chaos_test

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// op is an operation of a made-up history, in milliseconds.
func op(began, ended int, c call, a answer) *operation {
	o := &operation{call: c, answer: a, began: time.Duration(began) * time.Millisecond, ended: time.Duration(ended) * time.Millisecond}
	if a.verdict == unknown && c.action != read {
		o.ended = forever
	}
	return o
}

// at is o as answered by a state at a log index.
func at(position uint64, o *operation) *operation {
	o.position = position
	return o
}

// after is o as a look at the state right after an own write.
func after(own value, o *operation) *operation {
	o.own = own
	return o
}

func reads(v value) (call, answer)  { return call{action: read}, answer{done, v} }
func writes(v value) (call, answer) { return call{action: write, value: v}, answer{done, 0} }

func lost(c call, _ answer) (call, answer)  { return c, answer{unknown, 0} }
func fails(c call, _ answer) (call, answer) { return c, answer{refused, 0} }

func swaps(from, v value) (call, answer) {
	return call{action: swap, value: v, from: from}, answer{done, 0}
}
func removes() (call, answer) { return call{action: remove}, answer{done, 0} }

func made(began, ended int) func(c call, a answer) *operation {
	return func(c call, a answer) *operation { return op(began, ended, c, a) }
}

// The checker itself must be able to fail.
func TestCheckerSees(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		history []*operation
		want    porcupine.CheckResult
	}{
		"a write and its read":                {[]*operation{made(1, 2)(writes(7)), made(3, 4)(reads(7))}, porcupine.Ok},
		"the value from before":               {[]*operation{made(3, 4)(reads(1))}, porcupine.Ok},
		"a read before the end of a write":    {[]*operation{made(1, 9)(writes(7)), made(2, 3)(reads(7)), made(4, 5)(reads(7))}, porcupine.Ok},
		"a lost write":                        {[]*operation{made(1, 2)(writes(7)), made(3, 4)(reads(1))}, porcupine.Illegal},
		"a stale read":                        {[]*operation{made(1, 9)(writes(7)), made(2, 3)(reads(7)), made(4, 5)(reads(1))}, porcupine.Illegal},
		"a double effect":                     {[]*operation{made(1, 2)(writes(7)), made(3, 4)(writes(8)), made(5, 6)(reads(8)), made(7, 8)(reads(7))}, porcupine.Illegal},
		"an unknown write that was not":       {[]*operation{made(1, 0)(lost(writes(7))), made(3, 4)(reads(1))}, porcupine.Ok},
		"an unknown write that was, late":     {[]*operation{made(1, 0)(lost(writes(7))), made(3, 4)(reads(1)), made(5, 6)(reads(7))}, porcupine.Ok},
		"an unknown write that was undone":    {[]*operation{made(1, 0)(lost(writes(7))), made(3, 4)(reads(7)), made(5, 6)(reads(1))}, porcupine.Illegal},
		"a value that nobody wrote":           {[]*operation{made(3, 4)(reads(5))}, porcupine.Illegal},
		"a swap":                              {[]*operation{made(1, 2)(swaps(1, 7)), made(3, 4)(reads(7))}, porcupine.Ok},
		"a swap from another value":           {[]*operation{made(1, 2)(swaps(2, 7))}, porcupine.Illegal},
		"a refused swap":                      {[]*operation{made(1, 2)(fails(swaps(2, 7))), made(3, 4)(reads(1))}, porcupine.Ok},
		"a swap refused for no reason":        {[]*operation{made(1, 2)(fails(swaps(1, 7)))}, porcupine.Illegal},
		"both of two swaps from one":          {[]*operation{made(1, 9)(swaps(1, 7)), made(1, 9)(swaps(1, 8))}, porcupine.Illegal},
		"an unknown swap that failed":         {[]*operation{made(1, 0)(lost(swaps(2, 7))), made(3, 4)(reads(1))}, porcupine.Ok},
		"a swap of none":                      {[]*operation{made(1, 2)(removes()), made(3, 4)(swaps(0, 7)), made(5, 6)(reads(7))}, porcupine.Ok},
		"a removal":                           {[]*operation{made(1, 2)(removes()), made(3, 4)(reads(0))}, porcupine.Ok},
		"a removal of nothing":                {[]*operation{made(1, 2)(removes()), made(3, 4)(removes())}, porcupine.Illegal},
		"a refused removal of nothing":        {[]*operation{made(1, 2)(removes()), made(3, 4)(fails(removes()))}, porcupine.Ok},
		"a removal refused although it was":   {[]*operation{made(1, 2)(fails(removes()))}, porcupine.Illegal},
		"an unknown removal, seen in its end": {[]*operation{made(1, 0)(lost(removes())), made(3, 4)(reads(1)), made(5, 6)(reads(0))}, porcupine.Ok},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _, _ := check([]value{1}, test.history, time.Minute); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestChecksByLogIndexSee(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fresh, stale []*operation
		want         int
	}{
		"answers in order": {
			fresh: []*operation{made(1, 2)(writes(7)), at(12, made(3, 4)(reads(7)))},
			stale: []*operation{at(11, made(5, 6)(reads(1))), at(12, made(5, 6)(reads(7)))},
		},
		"from before the window": {stale: []*operation{at(9, made(5, 6)(reads(55)))}},
		"two answers at one index": {
			fresh: []*operation{made(1, 2)(writes(7)), at(12, made(3, 4)(reads(7)))},
			stale: []*operation{at(12, made(5, 6)(reads(1)))}, want: 1,
		},
		"a value that nobody wrote": {stale: []*operation{at(12, made(5, 6)(reads(7)))}, want: 1},
		"a value from the future":   {fresh: []*operation{made(7, 8)(writes(7))}, stale: []*operation{at(12, made(5, 6)(reads(7)))}, want: 1},
		"a value that came back": {
			fresh: []*operation{made(1, 2)(writes(7)), at(12, made(3, 4)(reads(7)))},
			stale: []*operation{at(13, made(5, 6)(reads(1)))}, want: 1,
		},
		"an own write": {
			fresh: []*operation{made(1, 2)(writes(7))},
			stale: []*operation{after(7, at(12, made(5, 6)(reads(7))))},
		},
		"an own write that another followed": {
			fresh: []*operation{made(1, 2)(writes(7)), made(1, 2)(writes(8))},
			stale: []*operation{after(7, at(12, made(5, 6)(reads(8)))), at(13, made(7, 8)(reads(8)))},
		},
		"an own write that came later": {
			fresh: []*operation{made(1, 2)(writes(7)), at(13, made(7, 8)(reads(7)))},
			stale: []*operation{after(7, at(12, made(5, 6)(reads(1))))}, want: 1,
		},
		"none that came back": {
			fresh: []*operation{at(12, made(3, 4)(reads(0))), made(1, 2)(writes(7)), at(13, made(3, 4)(reads(7)))},
			stale: []*operation{at(14, made(5, 6)(reads(0)))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := history{fresh: test.fresh, stale: test.stale}
			if found := h.byPosition([]value{1}, 10); len(found) != test.want {
				t.Errorf("found %q, want %d", found, test.want)
			}
		})
	}
}

func TestChecksInTimeSee(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fresh []*operation
		want  int
	}{
		"one after the other": {[]*operation{at(5, made(1, 2)(reads(1))), at(5, made(3, 4)(reads(1))), at(6, made(5, 6)(reads(1)))}, 0},
		"at the same time":    {[]*operation{at(5, made(1, 4)(reads(1))), at(4, made(3, 6)(reads(1)))}, 0},
		"back":                {[]*operation{at(5, made(1, 2)(reads(1))), at(4, made(3, 4)(reads(1)))}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := history{fresh: test.fresh}
			if found := h.inTime(); len(found) != test.want {
				t.Errorf("found %q, want %d", found, test.want)
			}
		})
	}
}
