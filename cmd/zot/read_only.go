package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/fsm"
)

type readOnlyRequest struct {
	On     bool   `json:"on"`
	Reason string `json:"reason"`
}

// readOnlyHandler answers a request to make the registry read-only, or to end that.
func readOnlyHandler(node fsm.Proposer) http.Handler {
	return answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r readOnlyRequest
		if err := body.Decode(&r); err != nil {
			return nil, errBadRequest
		}
		cmd := fsm.SetReadOnly{On: r.On, Reason: r.Reason}
		if _, err := fsm.Encode(cmd); err != nil {
			return nil, refusal(err.Error())
		}
		_, err := fsm.Do(ctx, node, cmd)
		return struct{}{}, err
	})
}

const readOnlyHelp = `Makes the registry read-only, on all nodes and until "off": pushes, mounts and deletes are refused with the reason, at
once and before their bytes are taken, and retention waits. When the command returns, nothing changes any more what the
registry has; what was acknowledged before is there.

Pulls go on, and so do logins and API keys, the repair of copies, the removal of what nobody refers to any more, and
nodes that join or leave. 'zot cluster status' shows the reason, and /readyz?for=write answers 503 with it.`

func readOnlyCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:       "read-only on|off",
		Short:     "refuse pushes and deletes on all nodes for maintenance, or take them again",
		Long:      readOnlyHelp,
		ValidArgs: []string{"on", "off"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
	}
	reason := cmd.Flags().String("reason", "", "what clients and 'zot cluster status' are told, as \"disks are changed, until 14:00 UTC\"")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := readOnlyRequest{On: args[0] == "on", Reason: *reason}
		if !r.On && r.Reason != "" {
			return errors.New("--reason is for \"on\"")
		}
		return work(func(cmd *cobra.Command, _ []string) error { return setReadOnly(cmd, *file, r) })(cmd, args)
	}
	return cmd
}

func setReadOnly(cmd *cobra.Command, file string, r readOnlyRequest) error {
	c, err := newClient(file)
	if err != nil {
		return err
	}
	if err := c.call(cmd.Context(), http.MethodPost, "/cluster/read-only", r, &struct{}{}); err != nil {
		return err
	}
	said := "the registry takes pushes and deletes again"
	if r.On {
		said = "the registry is read-only: 'zot cluster read-only off' ends that"
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
	return err
}
