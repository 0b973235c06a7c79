package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

type (
	drainRequest struct {
		Node string `json:"node"`
		Undo bool   `json:"undo"`
	}
	// emptying is how far a node is whose copies go to others.
	emptying struct {
		Node        string            `json:"node"`
		Incarnation entry.Incarnation `json:"incarnation"`
		Leaves      bool              `json:"leaves"` // it is being removed, not drained
		Copies      int64             `json:"copies"` // that are left on it
	}
)

// emptyingOf says how far the nodes are whose copies go to others, as this node's state has it.
func emptyingOf(state *fsm.State) (all []emptying, err error) {
	err = state.View(func(v fsm.View) error {
		draining := v.Draining()
		for _, n := range v.Nodes() {
			if leaves := n.State == entry.Retired; leaves || slices.Contains(draining, n.Incarnation) {
				all = append(all, emptying{n.Name, n.Incarnation, leaves, v.Held(n.Incarnation).Copies})
			}
		}
		return nil
	})
	return all, err
}

// String is a line for people.
func (e emptying) String() string {
	what, left := "is being emptied", fmt.Sprintf("%d copies are left", e.Copies)
	switch e.Copies {
	case 0:
		what, left = "is drained", "no copies are left"
	case 1:
		left = "1 copy is left"
	}
	if e.Leaves {
		what = "leaves"
	}
	return fmt.Sprintf("%s %s: %s", e.Node, what, left)
}

// drains is the part of the node that has nodes emptied.
type drains struct {
	state *fsm.State
	node  fsm.Proposer
}

// handler answers a request.
func (d drains) handler() http.Handler {
	return answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r drainRequest
		if err := body.Decode(&r); err != nil || r.Node == "" {
			return nil, errBadRequest
		}
		return struct{}{}, d.drain(ctx, r)
	})
}

// drain has a node be emptied, or not any more.
func (d drains) drain(ctx context.Context, r drainRequest) error {
	who, err := d.find(r.Node)
	if err != nil {
		return err
	}
	_, err = fsm.Do(ctx, d.node, fsm.DrainNode{Incarnation: who, Undo: r.Undo})
	refused, _ := errors.AsType[*fsm.Refusal](err)
	switch {
	case errors.Is(err, fsm.ErrTooFewNodes):
		return refusal(fmt.Sprintf("%s cannot be emptied: %s. Take another node in, lower cluster.replicas, or let it go with 'zot cluster remove'", r.Node, refused.Detail))
	case errors.Is(err, fsm.ErrNodeNoMember):
		return refusal(refused.Detail + ": only members are emptied")
	}
	return err
}

// find returns the node with a name, or whose incarnation begins so, that is not gone.
func (d drains) find(name string) (i entry.Incarnation, err error) {
	found := 0
	err = d.state.View(func(v fsm.View) error {
		for _, n := range v.Nodes() {
			if n.State != entry.Dropped && (n.Name == name || len(name) >= 8 && strings.HasPrefix(n.Incarnation.String(), name)) {
				found++
				i = n.Incarnation
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return i, err
	case found == 0:
		return i, refusal(fmt.Sprintf("no node is named %q", name))
	case found > 1:
		return i, refusal(fmt.Sprintf("several nodes are named %q: say the first 8 digits or more of the incarnation", name))
	}
	return i, nil
}

const drainHelp = `Empties a node: its copies of blobs are moved to other nodes, each new copy before the old one goes, until none is left.
It stays a member and votes, and serves clients as before; what is pushed through it goes to other nodes. Nothing comes
back to it until --undo, or when too few others answer for a push. 'zot cluster status' shows how many copies are left.

NODE is its name, or the first 8 digits or more of its incarnation. It is refused if fewer nodes than replicas would be
left. To let a node go for good, 'zot cluster remove' does this too.`

func drainCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain NODE [--undo]",
		Short: "move all copies of blobs off a node, which stays a member",
		Long:  drainHelp,
		Args:  cobra.ExactArgs(1),
	}
	undo := cmd.Flags().Bool("undo", false, "let it have copies again; those that were moved come back bit by bit")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		if err := c.call(cmd.Context(), http.MethodPost, "/cluster/drain", drainRequest{Node: args[0], Undo: *undo}, &struct{}{}); err != nil {
			return err
		}
		said := args[0] + " is being emptied: 'zot cluster status' shows how many copies are left"
		if *undo {
			said = args[0] + " gets copies again"
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	})
	return cmd
}
