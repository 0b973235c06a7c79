package fsm

import (
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// ErrClosed is returned for a State after Close.
var ErrClosed = errors.New("the replicated state is closed")

// View is one consistent state, for reading. It is valid only within the function that it is passed to,
// and so is every slice that it gives.
type View struct{ reader }

// Time is the state time of the view.
func (v View) Time() entry.Time { return v.position().Time }

// Position is how far the view has applied.
func (v View) Position() entry.Position { return v.position() }

// View calls fn with the newest applied state and returns its error. Nothing slow may happen in fn:
// while it runs, the file cannot reuse what was freed since.
//
// It fails with ErrDamaged for a file that cannot be read as it was written, and fences the node then;
// with ErrClosed after Close.
func (s *State) View(fn func(v View) error) error {
	db := s.acquire()
	if db == nil {
		return ErrClosed
	}
	defer s.release(db)
	damage, err := db.read(fn)
	if damage != nil {
		s.fence(db, damage.Error())
		return damage
	}
	return err
}

// read is View without its consequence: it tells fn's error from damage of the file.
func (db *database) read(fn func(v View) error) (damage, err error) {
	// A page that the disk does not give is a fault in the map, which would end the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	inside := false // whether a panic is fn's
	defer func() {
		if p := recover(); p != nil {
			if damageOf(p) == nil && inside {
				panic(p)
			}
			damage = orDamaged(p, nil)
		}
	}()
	return nil, db.bolt.View(func(bolt *bbolt.Tx) error {
		inside = true
		err := fn(View{reader{bolt}})
		inside = false
		return err
	})
}

// damageOf is the error of a panic that a damaged file caused: one of ours, or a fault in the map.
func damageOf(p any) error {
	err, ok := p.(error)
	if !ok {
		return nil
	}
	if errors.Is(err, ErrDamaged) {
		return err
	}
	if fault, ok := p.(interface{ Addr() uintptr }); ok {
		return fmt.Errorf("%w: fault at %#x of the file's map", ErrDamaged, fault.Addr())
	}
	return nil
}

// orDamaged makes an error of what recover gave, for a piece of code in which only a damaged file
// panics; err if it gave nothing.
func orDamaged(p any, err error) error {
	if p == nil {
		return err
	}
	if damage := damageOf(p); damage != nil {
		return damage
	}
	return fmt.Errorf("%w: %v", ErrDamaged, p)
}
