package blobstore

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrPanic is a fault of this program that was contained.
var ErrPanic = errors.New("panic")

// Panicked makes an error, with the stack, of what recover has returned. It is ErrPanic.
func Panicked(p any) error { return fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack()) }

// Contain calls f and makes an error of a panic. It is for goroutines that are begun on behalf of a request: there a
// panic would end the process, and with it all other requests.
func Contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Panicked(p)
		}
	}()
	return f()
}
