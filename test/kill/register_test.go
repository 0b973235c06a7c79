package kill_test

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// key is a register: a tag of a repository, or a manifest by its digest, which is there or not.
type key struct {
	repo string
	name string // a tag, or a digest
}

// String is what a client writes.
func (k key) String() string { return k.repo + ":" + k.name }

// action is what a request does to a register.
type action uint8

// The actions.
const (
	read     action = iota
	put             // the register gets the image
	remove          // the register becomes empty; refused if it is
	untag           // a tag becomes empty if it names the image, whose manifest is deleted by digest
	settling        // what is asked for at the end, once all nodes run: a read
)

// verdict is what became of an operation.
type verdict uint8

// The verdicts.
const (
	unknown verdict = iota // it may have been applied, and may still be
	done
	refused
)

// call is the input of an operation as the checker wants it.
type call struct {
	action action
	value  value // put, or whose tags go
}

// answer is the output of an operation.
type answer struct {
	verdict verdict
	saw     value // read; 0 for none
}

// operation is one request by one client, as it concerns one register.
type operation struct {
	key
	call
	answer
	client int
	node   string
	began  time.Duration // since the run began
	ended  time.Duration // forever while the outcome is unknown
	stale  bool
	note   string // the answer, if it needs explaining
}

// forever is when an operation ends that has not.
const forever = time.Duration(1<<63 - 1)

// String is a line of a printed history.
func (o *operation) String() string {
	end := "..."
	if o.ended != forever {
		end = fmt.Sprintf("%.4f", o.ended.Seconds())
	}
	s := fmt.Sprintf("%9.4f - %8s client %2d at %s: %s", o.began.Seconds(), end, o.client, o.node, describeCall(o.call, o.answer))
	if o.stale {
		s += " (stale)"
	}
	return s + o.note
}

func describeCall(c call, a answer) string {
	outcome := [...]string{"unknown", "done", "refused"}[a.verdict]
	switch c.action {
	case read, settling:
		return fmt.Sprintf("read %d", a.saw)
	case put:
		return fmt.Sprintf("put %d: %s", c.value, outcome)
	case untag:
		return fmt.Sprintf("delete the manifest of %d: %s", c.value, outcome)
	default:
		return fmt.Sprintf("remove: %s", outcome)
	}
}

// next is a register's specification. What is unknown is as done, at whatever time: if it never was, that
// time is after everything else.
func next(now value, c call, a answer) (bool, value) {
	switch c.action {
	case read, settling:
		return a.saw == now, now
	case put:
		return true, c.value
	case untag:
		if a.verdict == refused { // the manifest is not there, so no tag names it
			return now != c.value, now
		}
		if now == c.value {
			return true, 0
		}
		return true, now
	default:
		if now == 0 {
			return a.verdict != done, 0
		}
		return a.verdict != refused, 0
	}
}

// check says whether the history of one register is linearizable (invariant 6).
func check(history []*operation, timeout time.Duration) (porcupine.CheckResult, porcupine.Model, porcupine.LinearizationInfo) {
	m := porcupine.Model{
		Init: func() any { return value(0) },
		Step: func(now, in, out any) (bool, any) {
			ok, after := next(now.(value), in.(call), out.(answer))
			return ok, after
		},
		DescribeOperation: func(in, out any) string { return describeCall(in.(call), out.(answer)) },
		DescribeState:     func(s any) string { return fmt.Sprint(s) },
	}
	operations := make([]porcupine.Operation, 0, len(history))
	for _, o := range history {
		operations = append(operations, porcupine.Operation{
			ClientId: o.client, Input: o.call, Output: o.answer, Call: int64(o.began), Return: int64(o.ended),
		})
	}
	result, info := porcupine.CheckOperationsVerbose(m, operations, timeout)
	return result, m, info
}
