package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cmd/zot/transfer"
)

const exportHelp = `Writes repositories of the cluster into DIR, through the node on this machine: those that match one of the globs, or
all. Each becomes an OCI image layout, DIR/<repository>, with all its tags, manifests without a tag, and what refers to
them; 'zot import DIR' takes all of it in again, and zot of the original kind serves it.

Every blob is hashed as it is written, and has its name only when it is whole and on the disk; index.json comes last.
What is there is not fetched again: run an export once more to bring DIR up to date, or to go on after an interruption.
What is no longer in the registry leaves index.json; its bytes stay in DIR. Exit code 1 if anything could not be written.`

func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export DIR [REPO...]",
		Short: "write OCI image layouts",
		Long:  exportHelp,
		Args:  cobra.MinimumNArgs(1),
	}
	file := configFlag(cmd)
	jobs := cmd.Flags().Int("jobs", 4, "how many manifests are written at a time, and how many blobs")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) (err error) {
		if *jobs < 1 {
			return fmt.Errorf("--jobs %d: 1 or more", *jobs)
		}
		node, closeNode, err := connectNode(cmd.Context(), *file)
		if err != nil {
			return err
		}
		defer closeNode()
		to, err := transfer.OpenLayouts(args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
		show := newTransferDisplay(cmd.ErrOrStderr())
		copied := show.copy(cmd.Context(), node, to, transfer.Options{Only: args[1:], Jobs: *jobs, Problem: show.problem})
		if err := show.summary(cmd.OutOrStdout(), false); err != nil {
			return err
		}
		return errors.Join(copied, show.err())
	})
	return cmd
}
