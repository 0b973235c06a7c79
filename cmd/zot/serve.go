package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

const serveHelp = `Runs a node until it gets SIGTERM or SIGINT. It then tells load balancers that it is not ready, goes on
serving for a while, finishes what was begun, and hands leadership over; it stays a member of its cluster. A second
signal cuts the waiting short.

A changed FILE is taken in within seconds, however it was replaced, and at once on SIGHUP; so are the files that it
names. Logins, access control, garbage collection, retention, limits and the log's level change without a restart. What
needs one (addresses, ports, directories, buckets, cluster membership) the log names, a line for each key. A FILE with
anything wrong changes nothing, and the log says what it is; 'zot verify FILE' does before.

SIGHUP also opens log.output and log.audit again, after they were moved.`

func serveCommand(s surroundings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve FILE",
		Short: "run a node as the configuration file says",
		Long:  serveHelp,
		Args:  cobra.ExactArgs(1),
	}
	wait := cmd.Flags().Duration("drain-wait", 5*time.Second, "how long to go on serving after SIGTERM, until load balancers have noticed")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		// Until the process ends: a repeated signal must not make another exit code of a node that has drained.
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		return serve(cmd, s, args[0], setting{version: s.version, signals: signals, drainWait: *wait})
	})
	return cmd
}

// serve loads the file and runs the node.
func serve(cmd *cobra.Command, s surroundings, file string, set setting) (err error) {
	set.file = configFile{file, s.adjust}
	if set.content, err = config.Read(file); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	c, notes, err := set.file.parse(set.content)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	log, logged, err := openLog(c.Log, s.stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logged.Close()) }()
	for _, n := range notes {
		log.Warn("configuration", "key", n.Key, "note", n.Text)
	}
	set.config, set.notes, set.log, set.rotated = c, notes, log, reopener{logged}
	set.failStop = func(cause error) {
		_, _ = fmt.Fprintln(s.stderr, "zot: the node must not go on:", cause) // the last word, whoever reads it
		s.exit(exitFailed)
	}
	return run(cmd.Context(), set)
}
