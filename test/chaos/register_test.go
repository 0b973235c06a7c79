package chaos_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// value is what a register holds: the number of a manifest, or 0 if the tag does not exist.
type value int

// action is what a client does to a register.
type action uint8

// The actions.
const (
	read   action = iota
	write         // move the tag to a manifest
	swap          // the same, if the tag names another one (or none)
	remove        // delete the tag
)

// String is the action in a printed history.
func (a action) String() string { return [...]string{"read", "write", "swap", "remove"}[a] }

// verdict is what became of an operation.
type verdict uint8

// The verdicts. What certainly was not applied has none: it is no operation.
const (
	unknown verdict = iota // it may have been applied, and may still be
	done
	refused
)

// String is the verdict in a printed history.
func (v verdict) String() string { return [...]string{"unknown", "done", "refused"}[v] }

// call is the input of an operation as the checker wants it.
type call struct {
	register int
	action   action
	value    value // written
	from     value // wanted by a swap
}

// answer is the output of an operation.
type answer struct {
	verdict verdict
	saw     value // read
}

// operation is one call by one client.
type operation struct {
	call
	answer
	client   int
	node     string
	began    time.Duration // since the bout began
	ended    time.Duration // forever while the outcome is unknown
	position uint64        // a read's: the log index that the answering state had come to
	own      value         // of a read right after the client's own write at that node: what it wrote
	note     string
}

// forever is when an operation ends that has not.
const forever = time.Duration(1<<63 - 1)

// String is a line of a printed history.
func (o *operation) String() string {
	end := "..."
	if o.ended != forever {
		end = fmt.Sprintf("%.6f", o.ended.Seconds())
	}
	s := fmt.Sprintf("%.6f - %s client %d at %s: r%d %s", o.began.Seconds(), end, o.client, o.node, o.register, describe(o.call, o.answer))
	if o.action == read {
		s += fmt.Sprintf(" at log index %d", o.position)
	}
	return s + o.note
}

func describe(c call, a answer) string {
	switch c.action {
	case read:
		return fmt.Sprintf("read %d", a.saw)
	case write:
		return fmt.Sprintf("write %d: %s", c.value, a.verdict)
	case swap:
		return fmt.Sprintf("swap %d for %d: %s", c.from, c.value, a.verdict)
	default:
		return fmt.Sprintf("remove: %s", a.verdict)
	}
}

// step is a register's specification, which is a tag's: DeleteTag of a tag that does not exist is
// refused, and a condition "absent" holds too for a tag that is as wanted already.
func step(now value, c call, a answer) (bool, value) {
	switch c.action {
	case read:
		return a.saw == now, now
	case write:
		return a.verdict != refused, c.value
	case swap:
		holds := now == c.from || c.from == 0 && now == c.value
		return follow(holds, a.verdict, now, c.value)
	default:
		return follow(now != 0, a.verdict, now, 0)
	}
}

// follow is a conditional change: possible if its verdict is what the condition says.
func follow(holds bool, v verdict, now, next value) (bool, value) {
	if holds {
		return v != refused, next
	}
	return v != done, now
}

// model is the specification of the registers, from known values on, for porcupine.
func model(initial []value) porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			parts := make([][]porcupine.Operation, len(initial))
			for _, o := range history {
				r := o.Input.(call).register
				parts[r] = append(parts[r], o)
			}
			return slices.DeleteFunc(parts, func(p []porcupine.Operation) bool { return len(p) == 0 })
		},
		Init: func() any { return state{} },
		Step: func(s, in, out any) (bool, any) {
			c, now := in.(call), s.(state)
			if !now.begun {
				now = state{true, initial[c.register]}
			}
			ok, next := step(now.value, c, out.(answer))
			return ok, state{true, next}
		},
		DescribeOperation: func(in, out any) string { return describe(in.(call), out.(answer)) },
		DescribeState:     func(s any) string { return fmt.Sprint(s.(state).value) },
	}
}

// state is a register within a history: what it held before it is known once the first operation says
// which register it is.
type state struct {
	begun bool
	value value
}

// check says whether a history of registers is linearizable (invariant 6). info is for a picture of it.
func check(initial []value, history []*operation, timeout time.Duration) (porcupine.CheckResult, porcupine.Model, porcupine.LinearizationInfo) {
	m := model(initial)
	operations := make([]porcupine.Operation, 0, len(history))
	for _, o := range history {
		operations = append(operations, porcupine.Operation{
			ClientId: o.client, Input: o.call, Output: o.answer, Call: int64(o.began), Return: int64(o.ended),
		})
	}
	result, info := porcupine.CheckOperationsVerbose(m, operations, timeout)
	return result, m, info
}
