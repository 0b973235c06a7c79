package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/auth/htpasswd"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

const verifyHelp = `Reads a configuration file as 'zot serve' does and says everything that is wrong with it, a line each: the key, what is
wrong, and how to mend it; exit code 1 if there is anything. What zot takes too, and only serving refuses, is a
"warning". It also looks at the files that it names: whether they can be read, and hold what they
should. What is worth knowing and wrong in no way begins with "note". It changes nothing, and asks nobody.`

func verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "check a configuration file",
		Long:  verifyHelp,
		Args:  cobra.ExactArgs(1),
	}
	alone := cmd.Flags().Bool("file-alone", false, "do not look at the files that it names, as on another machine than the node's")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		load := loadAll
		if *alone {
			load = config.Load
		}
		return verify(cmd.OutOrStdout(), args[0], load)
	})
	return cmd
}

// loadAll is config.LoadWithFiles, with what a node says of the lines of a file of passwords.
func loadAll(path string) (config.Config, []config.Note, error) {
	const key = "http.auth.htpasswd.path"
	c, notes, err := config.LoadWithFiles(path)
	if file := c.HTTP.Auth.Htpasswd; file != "" {
		if _, lines, unread := htpasswd.Open(file); unread == nil { // else err says so
			for _, l := range lines {
				notes = append(notes, config.Note{Key: key, Text: fmt.Sprintf("line %d of %s is left out: %s", l.Line, file, l.Text)})
			}
		}
	}
	return c, notes, err
}

// verify prints what a file is worth, and fails with its problems.
func verify(w io.Writer, file string, load func(string) (config.Config, []config.Note, error)) error {
	_, notes, failed := load(file)
	for _, n := range notes {
		if _, err := fmt.Fprintf(w, "note: %s: %s\n", n.Key, n.Text); err != nil {
			return err
		}
	}
	var problems config.Problems
	if failed != nil && !errors.As(failed, &problems) {
		return fmt.Errorf("%s: %w", file, failed)
	}
	ofFile := slices.DeleteFunc(slices.Clone(problems), func(p config.Problem) bool { return p.Serving })
	for _, p := range problems {
		if !p.Serving {
			continue
		}
		if _, err := fmt.Fprintf(w, "warning: 'zot serve' will refuse this file: %s\n", p); err != nil {
			return err
		}
	}
	if len(ofFile) > 0 {
		return fmt.Errorf("%s: %w", file, ofFile)
	}
	_, err := fmt.Fprintf(w, "%s is valid\n", file)
	return err
}
