package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	settleTimeout = 10 * time.Second // how long a command shows what became of what it asked for
	settlePoll    = 200 * time.Millisecond
)

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "look after the cluster, through the node on this machine",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	file := configFlag(cmd)
	cmd.AddCommand(statusCommand(file), auditCommand(file), snapshotCommand(file), tokenCommand(file), joinCommand(file), removeCommand(file), drainCommand(file), moveCommand(file), readOnlyCommand(file), transferCommand(file))
	return cmd
}

func statusCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show the members, who leads, how far they are, and how many may still fail",
		Args:  cobra.NoArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	allJobs := cmd.Flags().Bool("jobs", false, "show those jobs too that are well and wait for their next run")
	cmd.RunE = work(func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		status, err := c.status(cmd.Context())
		if err != nil {
			return err
		}
		if !*asJSON {
			return printStatus(cmd.OutOrStdout(), status, *allJobs, time.Now())
		}
		out, err := json.MarshalIndent(status, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(out))
		return err
	})
	return cmd
}

const removeHelp = `Takes a node out of the cluster: its copies no longer count and are made anew elsewhere, and when none is recorded on
it any more it is gone for good. Its directory must be emptied before it can join again.

NODE is its name, or the first 8 digits or more of its incarnation. It is refused if the nodes that remain would be
no quorum.`

func removeCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "take a node out of the cluster",
		Long:  removeHelp,
		Args:  cobra.ExactArgs(1),
	}
	lost := cmd.Flags().Bool("lost", false, "its disk is gone for good: nothing can be copied from it, and blobs that only it had are lost")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		before, err := c.status(cmd.Context())
		if err != nil {
			return err
		}
		if err := c.call(cmd.Context(), http.MethodPost, "/cluster/remove", removeRequest{Node: args[0], Lost: *lost}, &struct{}{}); err != nil {
			return err
		}
		// By incarnation: a node of the same name may have taken its place meanwhile.
		who := incarnationOf(before, args[0])
		said := args[0] + " leaves: its copies are made elsewhere first; 'zot cluster status' shows when it is gone"
		if c.settles(cmd.Context(), func(s clusterStatus) bool { return incarnationOf(s, who) == "" }) {
			said = args[0] + " is removed"
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	})
	return cmd
}

// incarnationOf is that of the node with a name, or that begins so; "" if there is none.
func incarnationOf(s clusterStatus, name string) string {
	for _, m := range s.Members {
		if i := m.Incarnation.String(); m.Name == name || strings.HasPrefix(i, name) {
			return i
		}
	}
	return ""
}

func transferCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "transfer [NODE]",
		Short: "have another node lead, or NODE",
		Args:  cobra.MaximumNArgs(1),
		RunE: work(func(cmd *cobra.Command, args []string) error {
			c, err := newClient(*file)
			if err != nil {
				return err
			}
			before, err := c.status(cmd.Context())
			if err != nil {
				return err
			}
			request := transferRequest{Node: strings.Join(args, "")}
			if err := c.call(cmd.Context(), http.MethodPost, "/cluster/transfer", request, &struct{}{}); err != nil {
				return err
			}
			leader := ""
			if !c.settles(cmd.Context(), func(s clusterStatus) bool {
				leader = s.Leader
				return leader != "" && (leader == request.Node || request.Node == "" && leader != before.Leader)
			}) {
				return fmt.Errorf("leadership was given up, and %s has not taken it within %s; see 'zot cluster status'", orNobody(request.Node), settleTimeout)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), leader+" leads")
			return err
		}),
	}
}

func orNobody(node string) string {
	if node == "" {
		return "another node"
	}
	return node
}

// settles waits a while for the cluster to become so.
func (c *client) settles(ctx context.Context, so func(clusterStatus) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if s, err := c.status(ctx); err == nil && so(s) {
			return true
		}
		sleep(ctx, settlePoll)
	}
	return false
}
