// Package leak looks for goroutines that tests have left.
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
		_ = Find() // which goleak judges
	}
	return code
}

// Find waits for goroutines to end, a minute at most, and fails with those that are left then. Options name those that may stay.
func Find(options ...goleak.Option) error { return find(patience, options...) }

func find(patience time.Duration, options ...goleak.Option) error {
	for began := time.Now(); ; {
		err := goleak.Find(options...)
		if err == nil || time.Since(began) > patience {
			return err
		}
	}
}
