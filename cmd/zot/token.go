package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
)

// host is the node as one that takes new machines in, if they show a token.
type host struct {
	*cluster.Node
	others *network // nil in a cluster of one
}

var _ inviting = host{}

// newHost has the node take in, from now on, who shows a token, whichever node has made it.
func newHost(node *cluster.Node, others *network) host {
	if others != nil {
		others.peer.TakeIn(func(ctx context.Context, i peer.Invitation) error { return spendToken(ctx, node, i) })
	}
	return host{node, others}
}

// spendToken has the log decide which joiner a token is for.
func spendToken(ctx context.Context, p fsm.Proposer, i peer.Invitation) error {
	_, err := fsm.Do(ctx, p, fsm.SpendToken{
		Token: i.Token, Joiner: fsm.HashSecret(string(i.Joiner[:])), Expires: i.Expires.UnixMilli(),
	})
	switch {
	case errors.Is(err, fsm.ErrTokenSpent):
		return peer.ErrTokenSpent
	case errors.Is(err, fsm.ErrTokenExpired):
		return peer.ErrTokenExpired
	}
	return err
}

const aloneMend = `this node is a cluster of one, which no other machine can reach. Add a section to its configuration first, as
  "cluster": {"node": "zot-0", "listen": "0.0.0.0:7373", "advertise": "zot-0.example.org:7373", "secretFile": "/etc/zot/cluster-secret"}
with a secret made by 'openssl rand -hex 32', and start it again: nothing is lost`

// Invite makes a token for one new machine.
func (h host) Invite() (invited, error) {
	if h.others == nil {
		return invited{}, &peer.RemoteError{Code: "alone", Message: aloneMend}
	}
	if why := h.Waiting(); why != "" {
		return invited{}, fmt.Errorf("this node is not part of a cluster yet: %s", why)
	}
	token, expires, err := h.others.peer.Invite(time.Now())
	return invited{token, h.others.address, expires}, err
}

const tokenHelp = `Prints the command that takes a new machine into the cluster. It is to be typed there, before 'zot serve' is started,
with the machine's own configuration: that has a section "cluster" with this cluster's name, a node and advertise of
its own, and a secretFile that is not there yet. Members need not be named in it.

The command holds a token that is good once, for an hour. Whoever shows it gets the cluster's secret.`

func tokenCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "print the command that takes a new machine in",
		Long:  tokenHelp,
		Args:  cobra.NoArgs,
		RunE: work(func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(*file)
			if err != nil {
				return err
			}
			var i invited
			if err := c.call(cmd.Context(), http.MethodPost, "/cluster/token", nil, &i); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Type this on the new machine, before 'zot serve'. It is good once, for an hour: until %s.\n"+
				"Whoever has it gets the cluster's secret.\n\n", i.Expires.Local().Format(time.RFC1123)) // beside the command itself
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "zot cluster join %s --token %s --config /etc/zot/config.json\n", i.Address, i.Token)
			return err
		}),
	}
}
