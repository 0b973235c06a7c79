package kill_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// setting is what a run is made with.
type setting struct {
	seed     uint64
	size     int             // how many nodes
	duration time.Duration   // of the load
	out      string          // where logs lie
	zot      string          // the binary
	bucket   *harness.Bucket // where copies go; nil: onto the nodes' disks
}

// prefix is that of the keys in the bucket.
const prefix = "kill"

// replicas is how many copies of a blob there are to be: with three nodes each has one, with five a pull
// has to find them.
func (s setting) replicas() int {
	switch {
	case s.bucket != nil:
		return 1
	case s.size == 5:
		return 2
	}
	return s.size
}

// acks is how many copies are durable before a push is acknowledged. One node less may be down than that.
func (s setting) acks() int { return min(2, s.replicas()) }

// random is a source of its own for each part of a run, so that one does not change what another draws.
func (s setting) random(part string) *rand.Rand {
	n := s.seed
	for _, c := range part {
		n = n*1099511628211 + uint64(c)
	}
	return rand.New(rand.NewPCG(s.seed, n))
}

// environment is what the variables ask for.
type environment struct {
	seed     uint64
	nodes    []int
	duration time.Duration
	runs     int
	out, zot string
}

func readEnvironment() (e environment, err error) {
	e = environment{
		seed: rand.Uint64N(1_000_000), nodes: []int{3, 5}, duration: time.Minute, runs: 1,
		out: os.Getenv("KILL_OUT"), zot: os.Getenv("ZOT"),
	}
	if text := os.Getenv("KILL_SEED"); text != "" {
		if e.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return e, fmt.Errorf("KILL_SEED: %w", err)
		}
	}
	if text := os.Getenv("KILL_NODES"); text != "" {
		e.nodes = nil
		for one := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(one)
			if err != nil || n != 1 && n != 3 && n != 5 {
				return e, fmt.Errorf("KILL_NODES: %q is none of 1, 3 and 5", one)
			}
			e.nodes = append(e.nodes, n)
		}
	}
	if text := os.Getenv("KILL_DURATION"); text != "" {
		if e.duration, err = time.ParseDuration(text); err != nil {
			return e, fmt.Errorf("KILL_DURATION: %w", err)
		}
	}
	if text := os.Getenv("KILL_RUNS"); text != "" {
		if e.runs, err = strconv.Atoi(text); err != nil {
			return e, fmt.Errorf("KILL_RUNS: %w", err)
		}
	}
	return e, nil
}
