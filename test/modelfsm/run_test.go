package modelfsm_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/model"
)

// shownSteps is how many of the last steps a failure shows.
const shownSteps = 80

// run is one random walk from the start of a world.
type run struct {
	cluster
	m     model.World // what the model says of the cluster
	trace []string
	seen  figures
}

// failure is what a run panics with when implementation and model differ.
type failure struct{ error }

func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// runs walks for so many steps, in runs that begin anew. Commands go through broken first, if that is not nil.
func runs(dir string, w world, seed uint64, steps int, seen figures, broken func(*run, fsm.Command) fsm.Command) error {
	for n := uint64(0); seen[stepsTaken] < steps; n++ {
		if err := oneRun(filepath.Join(dir, fmt.Sprint(n)), w, seed, n, min(w.steps, steps-seen[stepsTaken]), seen, broken); err != nil {
			return fmt.Errorf("run %d: %w", n, err)
		}
		seen[runsEnded]++
	}
	return nil
}

func oneRun(dir string, w world, seed, n uint64, steps int, seen figures, broken func(*run, fsm.Command) fsm.Command) (err error) {
	r := &run{seen: seen}
	r.cluster = cluster{world: w, dir: dir, r: rand.New(rand.NewPCG(seed, n)), index: map[fsm.CopyID]place{}}
	if broken != nil {
		r.broken = func(c fsm.Command) fsm.Command { return broken(r, c) }
	}
	defer func() {
		p := recover()
		if f, ok := p.(failure); ok {
			err = fmt.Errorf("%w\n%s", f.error, r.lastSteps())
		} else if p != nil { // of a command that could not be applied
			panic(fmt.Sprintf("%v\n%s", p, r.lastSteps()))
		}
		err = errors.Join(err, r.close(), os.RemoveAll(dir))
	}()
	r.begin()
	r.m = w.Start()
	for range steps {
		r.step()
		r.disturb()
		if r.r.IntN(64) == 0 {
			r.sound()
			r.newUploads()
		}
	}
	r.sound()
	r.newUploads()
	r.runDown()
	seen[entriesMade] += len(r.log)
	return nil
}

func (r *run) lastSteps() string {
	from := max(0, len(r.trace)-shownSteps)
	return fmt.Sprintf("after %d steps, of which the last are\n%s", len(r.trace), strings.Join(r.trace[from:], "\n"))
}

func (r *run) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf("%5d. ", len(r.trace)+1)+fmt.Sprintf(format, args...))
}

// next is a step and a world that the model lets follow it.
type next struct {
	step  model.Step
	world model.World
}

// step draws one of the steps that can be taken, takes it, and compares.
func (r *run) step() {
	kinds := map[model.Step][]next{} // by Op and Refused
	var order []model.Step
	total := 0
	r.Steps(&r.m, func(s model.Step, w *model.World) {
		if !r.can(s) {
			return
		}
		kind := model.Step{Op: s.Op, Refused: s.Refused}
		if kinds[kind] == nil {
			order = append(order, kind)
			total += weight(kind)
		}
		kinds[kind] = append(kinds[kind], next{s, *w})
	})
	pick := r.r.IntN(total)
	var kind model.Step
	for _, kind = range order {
		if pick -= weight(kind); pick < 0 {
			break
		}
	}
	chosen := kinds[kind][r.r.IntN(len(kinds[kind]))].step
	r.take(chosen, kinds[kind])
}

// take does a step for real and finds which of the worlds that may follow has come true.
func (r *run) take(s model.Step, all []next) {
	r.note("%s", s)
	name := s.Op
	if s.Refused {
		name += " -> refused"
	}
	r.seen[name]++
	r.seen[stepsTaken]++
	allowed := slices.DeleteFunc(slices.Clone(all), func(n next) bool { return n.step != s })
	r.lead = 0
	if s.Op != model.OpNewLeader && allowed[0].world.Lead < r.m.Lead { // the leader's time gets in with this entry
		r.lead = r.m.Lead
	}
	before := r.m
	r.follow(s, before)
	r.enter() // if no command has taken the leader's time along
	for i := range allowed {
		if s.Op == model.OpClear {
			r.clearAll(&allowed[i].world, s.A)
		}
		r.Settle(&allowed[i].world)
	}
	r.settle(allowed)
}

// clearAll is what the model says of a whole ClearNode, a step of which has been taken.
func (r *run) clearAll(w *model.World, n int) {
	for again := true; again; {
		again = false
		from := *w
		r.Steps(&from, func(s model.Step, x *model.World) {
			if s.Op == model.OpClear && s.A == n && !again {
				*w, again = *x, true
			}
		})
	}
}

// settle makes that world the model's which the real states show.
func (r *run) settle(allowed []next) {
	p := r.picture()
	var differences []string
	for i := range allowed {
		w := &allowed[i].world
		d := r.differences(p, w)
		if d == "" {
			r.m = *w
			r.forget()
			return
		}
		if !slices.Contains(differences, d) {
			differences = append(differences, d)
		}
	}
	fail("the implementation did what the model does not allow; of each of %d that it does:\n%s", len(allowed), strings.Join(differences, "\n"))
}

// unchanged compares once more: nothing may have come of what was just tried.
func (r *run) unchanged(what string) {
	if d := r.differences(r.picture(), &r.m); d != "" {
		fail("%s had an effect: %s", what, d)
	}
}

// forget drops what the model has no use for any more. If something is left of it after all, it is a copy that
// picture does not know.
func (r *run) forget() {
	for i, c := range r.claims {
		if c != nil && r.m.C[i].Phase == model.Unused {
			for _, l := range c.copies {
				delete(r.index, l.Copy)
			}
			r.past = append(r.past, c)
			r.claims[i] = nil
		}
		for s := range model.MaxNodes {
			if r.m.C[i].Mk[s] == 0 && c != nil {
				if f := r.fileAt(s, c); f != nil {
					f.marked = false
				}
			}
		}
	}
	for n := range r.nodes {
		if r.m.Mem[n] == model.Absent {
			r.nodes[n] = nil
		}
	}
}
