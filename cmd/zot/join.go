package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	askPatience = 30 * time.Second
	askPause    = time.Second
	clockSkew   = 5 * time.Second // more between two nodes is an alarm
)

const joinHelp = `Takes this machine into a cluster, before 'zot serve' is started here. ADDRESS and T come from 'zot cluster token', typed
on a node of that cluster.

It is handed the cluster's secret, writes it to cluster.secretFile and ADDRESS to node/members in storage.rootDirectory,
then waits for 'zot serve' and shows how the node is admitted, catches up and becomes a member. Nothing is lost when it
is interrupted: the same command goes on, and once the secret is here 'zot serve' alone is enough.`

func joinCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join ADDRESS --token T",
		Short: "take this machine into a cluster",
		Long:  joinHelp,
		Args:  cobra.ExactArgs(1),
	}
	token := cmd.Flags().String("token", "", "what 'zot cluster token' printed on a node of the cluster")
	if err := cmd.MarkFlagRequired("token"); err != nil {
		panic(err) // the flag is defined above
	}
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		c, err := joinable(*file, args[0])
		if err != nil {
			return err
		}
		j := &joiner{
			config: c, file: *file, address: args[0], token: *token, patience: askPatience,
			files: fsm.SystemFiles(), out: cmd.OutOrStdout(),
		}
		if err := j.takeSecret(ctx); err != nil {
			return err
		}
		return j.watch(ctx)
	})
	return cmd
}

// joinable is the configuration of a machine that may join, or what speaks against it.
func joinable(file, address string) (config.Config, error) {
	c, _, err := config.Load(file)
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return c, fmt.Errorf("ADDRESS is that of a node of the cluster, as zot-0.zot:7373, not %q", address)
	}
	switch {
	case c.Cluster.Alone:
		return c, fmt.Errorf(`%s has no section "cluster": add {"cluster": {"name": ..., "node": ..., "advertise": "HOST:7373", "secretFile": "/etc/zot/cluster-secret"}}`, file)
	case c.Cluster.SecretFile == "":
		return c, fmt.Errorf("%s: cluster.secretFile is missing: say where the secret of the cluster is to be written, as /etc/zot/cluster-secret", file)
	}
	return c, nil
}

// joiner is a machine on its way into a cluster.
type joiner struct {
	config               config.Config
	file, address, token string
	patience             time.Duration // with a node that cannot be reached, or cannot decide
	files                fsm.Files
	out                  io.Writer
}

// takeSecret shows the token and writes down what it is given for it. While it does, no node can start here.
func (j *joiner) takeSecret(ctx context.Context) (err error) {
	p, err := openPlace(j.config, j.files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	w, err := j.ask(ctx, p.joiner)
	if err != nil {
		return err
	}
	if w.Ahead.Abs() > clockSkew {
		j.say("the clock of %s is %s: more than %s between two nodes is an alarm", w.Node, ahead(w.Ahead), clockSkew)
	}
	written, err := p.keep(w.Secrets, j.address)
	if err != nil {
		return err
	}
	if written {
		j.say("%s has handed over the secret of cluster %s; it is in %s", w.Node, j.config.Cluster.Name, j.config.Cluster.SecretFile)
	} else {
		j.say("%s has handed over the secret of cluster %s; it was in %s already", w.Node, j.config.Cluster.Name, j.config.Cluster.SecretFile)
	}
	return nil
}

func (j *joiner) say(format string, args ...any) {
	_, _ = fmt.Fprintf(j.out, format+"\n", args...) // nobody is left to be told
}

// ask asks until it is decided, for a while.
func (j *joiner) ask(ctx context.Context, id [16]byte) (peer.Welcome, error) {
	until, cancel := context.WithTimeout(ctx, j.patience)
	defer cancel()
	c := j.config.Cluster
	for said := false; ; said = true {
		w, err := peer.Join(until, peer.JoinConfig{Address: j.address, Token: j.token, Joiner: id, Cluster: c.Name, Node: c.Node})
		refused, _ := errors.AsType[*peer.JoinError](err)
		switch {
		case err == nil:
			return w, nil
		case refused != nil && refused.Reason != peer.JoinUndecided:
			return w, inWords(refused, w)
		}
		if !said {
			j.say("%s does not take this machine in yet, and is asked again: %v", j.address, err)
		}
		if sleep(until, askPause); until.Err() == nil {
			continue
		}
		if ctx.Err() != nil {
			return w, errors.New("interrupted; nothing was changed here, and the same command may be typed again")
		}
		return w, fmt.Errorf("%s does not take this machine in: %w. Is it the address of a node that runs, reachable from here? "+
			"The same command may be typed again", j.address, err)
	}
}

// inWords adds to a refusal what can be done about it.
func inWords(refused *peer.JoinError, w peer.Welcome) error {
	const anew = "make a new one with 'zot cluster token' on a node of the cluster"
	switch refused.Reason {
	case peer.TokenMalformed:
		return fmt.Errorf("%w: copy the whole command again", refused)
	case peer.TokenForeign, peer.TokenSpent:
		return fmt.Errorf("%w: %s", refused, anew)
	case peer.TokenExpired:
		if w.Ahead.Abs() > clockSkew {
			return fmt.Errorf("%w, which is %s: if that is the wrong one, set it; then %s", refused, ahead(w.Ahead), anew)
		}
		return fmt.Errorf("%w: %s", refused, anew)
	case peer.JoinCluster:
		return fmt.Errorf("%w: mend cluster.name in the configuration of this machine", refused)
	default:
		return refused
	}
}

// ahead says how another clock differs from this machine's.
func ahead(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%s behind this machine's", -d)
	}
	return fmt.Sprintf("%s ahead of this machine's", d)
}
