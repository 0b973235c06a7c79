// Command gcmodel checks the life of a blob, as docs/design/gc.md has it, by visiting every state of small worlds and by long
// random walks through larger ones.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/seed-16d79997/zot/test/model"
)

func main() {
	run := flag.String("run", "small", "small, protocol, large, mutations, walks, all, or part of a name")
	limit := flag.Int("limit", 0, "stop a run after so many states (0: never)")
	trace := flag.Bool("trace", true, "print the shortest trace to each violation")
	list := flag.Bool("list", false, "list the runs")
	walk := flag.Int("steps", 2_000_000, "random steps of each walk")
	seed := flag.Uint64("seed", 1, "of the random walks")
	flag.Parse()
	fail := false
	for _, r := range model.Runs() {
		if !r.Wanted(*run) {
			continue
		}
		if *list {
			fmt.Printf("%-9s %s\n", r.Kind, r.String())
			continue
		}
		var res model.Result
		if r.Unbounded {
			res = r.Walk(*seed, *walk, 400)
		} else {
			res = r.Explore(*limit)
		}
		fmt.Printf("%-9s %-22s %11d states, depth %3d, %6.1fs  %s\n", r.Kind, r.Name, res.States, res.Depth, res.Took.Seconds(), verdict(res))
		if (res.Broken == "") != (r.Kind != "mutation" || r.Harmless) {
			fail = true
			fmt.Println("          UNEXPECTED")
		}
		if res.Broken != "" && *trace {
			for i, s := range res.Trace {
				fmt.Printf("    %2d. %s\n", i+1, s)
			}
		}
	}
	if fail {
		os.Exit(1)
	}
}

func verdict(r model.Result) string {
	switch {
	case r.Broken != "":
		return "BROKEN " + r.Broken
	case r.Stopped:
		return "stopped at the limit, nothing broken so far"
	}
	return "holds"
}
