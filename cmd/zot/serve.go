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
signal cuts the waiting short. SIGHUP has it read cluster.secretFile, the files of http.tls and the file of
http.auth.htpasswd again, which it also does by itself.`

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
	c, notes, err := config.LoadWithFiles(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if s.adjust != nil {
		s.adjust(&c)
	}
	log, closer, err := openLog(c.Log, s.stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	for _, n := range notes {
		log.Warn("configuration", "key", n.Key, "note", n.Text)
	}
	set.config, set.log = c, log
	set.failStop = func(cause error) {
		_, _ = fmt.Fprintln(s.stderr, "zot: the node must not go on:", cause) // the last word, whoever reads it
		s.exit(exitFailed)
	}
	return run(cmd.Context(), set)
}
