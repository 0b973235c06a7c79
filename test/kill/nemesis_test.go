package kill_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// fault is what the nemesis does.
type fault uint8

// The faults.
const (
	killLeader fault = iota
	killNext         // the node whose turn it is
	stopLeader       // with SIGSTOP
)

// String is the fault in a printed plan.
func (f fault) String() string {
	return [...]string{"kill the leader", "kill the next", "stop the leader"}[f]
}

// step is one fault, and the time around it.
type step struct {
	fault fault
	down  time.Duration
	again time.Duration // how long after its start a killed node is killed once more, ready or not; 0 for not
	after time.Duration // between the node's return and the next fault
}

// String is the step in a printed plan.
func (s step) String() string {
	again := ""
	if s.again > 0 {
		again = fmt.Sprintf(", again %.1fs after its start", s.again.Seconds())
	}
	return fmt.Sprintf("%s for %.1fs%s, then %.1fs of peace", s.fault, s.down.Seconds(), again, s.after.Seconds())
}

const (
	stopped = 5 * time.Second
	// oftenEnough is how often the leader is killed, and stopped, in a minute; in less, as much less.
	oftenEnough = 3
)

// share is how many of so many in a minute there are in d, at least one.
func share(count int, d time.Duration) int {
	return max(1, int((time.Duration(count)*d+time.Minute-1)/time.Minute))
}

// planOf is what a seed decides: rounds in which the leader is killed and stopped and the next node in turn is
// killed, in any order. The nemesis goes through them until the time is over and each has come often enough.
func planOf(rng *rand.Rand) []step {
	var plan []step
	for range 100 {
		round := []step{{fault: killLeader}, {fault: killNext}, {fault: stopLeader}, {fault: killNext}, {fault: killLeader}}
		rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		plan = append(plan, round...)
	}
	for i := range plan {
		plan[i].down = time.Duration(rng.IntN(2000)) * time.Millisecond
		switch {
		case plan[i].fault == stopLeader:
			plan[i].down = stopped
		case rng.IntN(4) == 0:
			plan[i].again = time.Duration(1+rng.IntN(800)) * time.Millisecond
		}
		plan[i].after = time.Duration(300+rng.IntN(1500)) * time.Millisecond
	}
	return plan
}

// torment carries out a plan.
func (b *bout) torment(ctx context.Context) {
	rng := b.random("nemesis")
	turn := rng.IntN(b.size)
	wait(ctx, time.Second)
	stops := 0
	for _, s := range planOf(rng) {
		leaders := b.figures.of("faults", killLeader.String())
		killed := 0
		for _, n := range b.rack.nodes {
			if b.figures.of("faults on", n.name) > 0 {
				killed++
			}
		}
		enough := leaders >= share(oftenEnough, b.duration) && stops >= share(oftenEnough, b.duration) &&
			(killed == b.size || b.duration < time.Minute)
		late := time.Since(b.began) > b.duration
		if ctx.Err() != nil || enough && late {
			return
		}
		if s.fault == stopLeader {
			if stops == share(oftenEnough, b.duration) {
				continue
			}
			stops++
		}
		n := b.victim(ctx, s.fault, &turn)
		if n == nil {
			return
		}
		b.strike(ctx, s, n)
		wait(ctx, s.after)
	}
}

// victim is the node that a fault strikes; nil if the run is over.
func (b *bout) victim(ctx context.Context, f fault, turn *int) *node {
	if f == killNext {
		*turn++
		return b.rack.nodes[*turn%b.size]
	}
	for began := time.Now(); ctx.Err() == nil; {
		if n := b.rack.leader(ctx); n != nil {
			return n
		}
		if time.Since(began) > patience {
			b.fail("nobody leads after %s", patience)
			return nil
		}
		wait(ctx, 20*time.Millisecond)
	}
	return nil
}

// strike does one fault and waits until the node lives again.
func (b *bout) strike(ctx context.Context, s step, n *node) {
	b.say("%s: %s", n.name, s)
	b.figures.count("faults", s.fault.String())
	b.figures.count("faults on", n.name)
	if s.fault == stopLeader {
		b.rack.pause(ctx, n, s.down)
		return
	}
	b.rack.kill(n)
	wait(ctx, s.down)
	b.rack.start(ctx, n)
	if s.again > 0 {
		wait(ctx, s.again)
		b.rack.kill(n)
		b.figures.count("faults", "kill again after the start")
		b.rack.start(ctx, n)
	}
	began := time.Now()
	if b.rack.living(ctx, n, patience) == nil && ctx.Err() == nil {
		b.fail("%s is not ready %s after its start:\n%s", n.name, patience, n.lastWords(20))
	}
	b.figures.took("from a start to ready", time.Since(began))
}
