// Package leak looks for goroutines that the tests of a package have left.
package leak

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end. (goleak itself waits for less than half a second, in which a busy machine
// does not run all of them.)
const patience = time.Minute

// Main is the TestMain of a package, which fails if goroutines are left.
func Main(m goleak.TestingM) { goleak.VerifyTestMain(patient{m}) }

type patient struct{ goleak.TestingM }

// Run runs the tests, and then waits for what they leave.
func (p patient) Run() int {
	code := p.TestingM.Run()
	if code == 0 {
		wait(patience)
	}
	return code
}

// wait waits until no goroutine is left, and reports whether that took no longer than it may.
func wait(patience time.Duration) bool {
	for began := time.Now(); goleak.Find() != nil; {
		if time.Since(began) > patience {
			return false
		}
	}
	return true
}
