package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// The exit codes, as `zot --help` has them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// surroundings is what a command may reach of the process.
type surroundings struct {
	stdout, stderr io.Writer
	exit           func(code int) // at once, whatever still runs
	version        string
	adjust         func(c *config.Config) // what a test has otherwise than its file can say; nil: nothing
}

// execute runs the command that the arguments name and returns the process's exit code.
func execute(args []string, s surroundings) int {
	root := rootCommand(s)
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	cmd, err := root.ExecuteC()
	var failed failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &failed):
		_, _ = fmt.Fprintln(s.stderr, "zot:", err) // nobody is left to be told
		return exitFailed
	default:
		_, _ = fmt.Fprintf(s.stderr, "zot: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
		return exitUsage
	}
}

// failure is the error of a command that was rightly called.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// work marks what do returns as a failure, lest it be taken for a mistake in the arguments.
func work(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := do(cmd, args); err != nil {
			return failure{err}
		}
		return nil
	}
}

const rootHelp = `zot is an OCI registry. Any node of a cluster serves any request; a single node is a cluster of one.

Exit codes:
  0  done; for serve: stopped as asked, and drained
  1  it could not be done, and standard error says why; for serve: the node could not start, or must not go on
  2  the command was called wrongly`

func rootCommand(s surroundings) *cobra.Command {
	root := &cobra.Command{
		Use:           "zot",
		Short:         "an OCI registry whose every node is a peer",
		Long:          rootHelp,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	showVersion := root.Flags().BoolP("version", "v", false, "print the version as JSON")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *showVersion {
			return work(printVersion(s))(cmd, nil)
		}
		return cmd.Help()
	}
	root.AddCommand(serveCommand(s), verifyCommand(), verifyFeatureCommand(), schemaCommand(), scrubCommand(), clusterCommand(), tagCommand(), importCommand(), exportCommand(), versionCommand(s))
	return root
}

// configFlag gives a command and those below it --config, the file in which they look for the node.
func configFlag(cmd *cobra.Command) *string {
	file := os.Getenv("ZOT_CONFIG")
	if file == "" {
		file = "/etc/zot/config.json"
	}
	return cmd.PersistentFlags().String("config", file, "configuration file of the node on this machine; ZOT_CONFIG says another default")
}
