// Command gcmodel checks the life of a blob, as docs/design/gc.md has it, by visiting every state of small worlds and by long
// random walks through larger ones.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
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
	for _, r := range runs() {
		if !r.wanted(*run) {
			continue
		}
		if *list {
			fmt.Printf("%-9s %s\n", r.Kind, r.String())
			continue
		}
		var res Result
		e := newExplorer(&r.Config)
		if r.Unbounded {
			res = e.walk(*seed, *walk, 400)
		} else {
			res = e.run(*limit)
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

func (r *Run) wanted(what string) bool {
	switch what {
	case "all":
		return true
	case "protocol":
		return r.Kind == "small" || r.Kind == "large"
	case "small", "large":
		return r.Kind == what
	case "mutations":
		return r.Kind == "mutation"
	case "walks":
		return r.Kind == "walk"
	}
	return strings.Contains(r.Name, what)
}

func verdict(r Result) string {
	switch {
	case r.Broken != "":
		return "BROKEN " + r.Broken
	case r.Stopped:
		return "stopped at the limit, nothing broken so far"
	}
	return "holds"
}
