// Command speed compares this registry with CNCF distribution: two processes on one machine, the same
// requests, in turn.
//
// `make speed` builds both and runs it. A round is a second or so of one kind of request at one of them; rounds
// of the two alternate, so that what else the machine does meets both. Of each kind the median is printed, the
// least and the most, and how much of the servers' processor time a request took.
//
// Both sync a push to the disk before they answer it. With -dir on a tmpfs a sync costs nothing, and what is
// left is the work; strace counts the syncs.
//
// Start with works.go, the kinds of requests; rounds.go measures one, registries.go starts what is measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	zot, distribution string   // programs
	also              []string // other builds of this registry
	dir               string   // what stores lie below; "" is the system's place for what is temporary
	only              *regexp.Regexp
	rounds            int
	window            time.Duration
	three             bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1) //nolint:gocritic // nothing waits for stop any more
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp(o.dir, "speed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home) //nolint:errcheck // below a directory for what is temporary
	return compare(ctx, o, home, os.Stdout)
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("speed", flag.ContinueOnError)
	flags.StringVar(&o.zot, "zot", "bin/zot", "`program` of this registry")
	flags.StringVar(&o.distribution, "distribution", "bin/registry", "`program` of CNCF distribution")
	flags.Func("also", "another `program` of this registry, to see what a change has brought; may be repeated", func(program string) error {
		o.also = append(o.also, program)
		return nil
	})
	flags.StringVar(&o.dir, "dir", "", "`directory` below which all stores lie")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds of each kind at each registry")
	flags.DurationVar(&o.window, "window", time.Second, "for how long requests are begun in a round")
	flags.BoolVar(&o.three, "three", false, "measure three nodes too, request by request in turn")
	only := flags.String("only", "", "`pattern` of the kinds that are measured")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("flag -only: %w", err)
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("%d rounds: at least one is needed", o.rounds)
	}
	return o, nil
}
