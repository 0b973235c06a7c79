package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/move"
)

const (
	maxMoving    = 100 // repositories that a status names
	moveGlance   = 500 * time.Millisecond
	movePatience = 10 * time.Second
)

type (
	moveRequest struct {
		Repository string `json:"repository"`
		Store      string `json:"store,omitempty"` // "": only how far it is is asked
	}
	// moving is how far a repository is that was moved to another store.
	moving struct {
		Repository string        `json:"repository"`
		Store      string        `json:"store"` // that it goes to, or is in
		There      fsm.LinksIn   `json:"there"` // what is in it
		Left       []fsm.LinksIn `json:"left"`  // what is in others
	}
	moveAnswer struct {
		moving

		Kept []string `json:"kept,omitempty"` // those of the others whose garbage is not collected, as the asked node is configured
	}
)

func movingOf(r fsm.Repository) moving { return moving{r.Name, r.Store, r.Links, r.Elsewhere} }

// left is what is in all other stores.
func (m moving) left() (in fsm.LinksIn) {
	for _, l := range m.Left {
		in.Links += l.Links
		in.Bytes += l.Bytes
	}
	return in
}

// String is a line for people.
func (m moving) String() string {
	return fmt.Sprintf("%s moves to store %s: %s left", m.Repository, m.Store, blobsText(m.left()))
}

func blobsText(in fsm.LinksIn) string {
	return fmt.Sprintf("%s with %s", plural(int(in.Links), "blob", "blobs"), bytesText(in.Bytes)) //nolint:gosec // for people
}

// allMoving is the repositories that are moved, as this node's state has it, up to maxMoving.
func allMoving(state *fsm.State) (all []moving, err error) {
	err = state.View(func(v fsm.View) error {
		for _, name := range v.Moving("", maxMoving) {
			r, err := v.Repository(name)
			if err != nil {
				return err
			}
			all = append(all, movingOf(r))
		}
		return nil
	})
	return all, err
}

// moves is the part of the node that has repositories moved.
type moves struct {
	state  *fsm.State
	node   ordering
	stores stores // of this node
}

// Store is for the job: it returns a store by its name, nil if there is none.
func (m moves) Store(name string) blobstore.Store {
	if s := m.stores.named(name); s != nil {
		return s.blobs
	}
	return nil
}

// handler answers a request.
func (m moves) handler() http.Handler {
	return answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r moveRequest
		if err := body.Decode(&r); err != nil || r.Repository == "" {
			return nil, errBadRequest
		}
		if r.Store != "" {
			if err := m.move(ctx, r); err != nil {
				return nil, err
			}
		}
		return m.progress(ctx, r.Repository)
	})
}

// move has a repository be moved. The node must have the store itself: one that only other files have is a mistake in this
// one, and the leader, who does it, may have this one tomorrow.
func (m moves) move(ctx context.Context, r moveRequest) error {
	if m.stores.named(r.Store) == nil {
		return refusal(fmt.Sprintf("this node's configuration has no store %s; it has %s", r.Store, strings.Join(m.stores.names(), ", ")))
	}
	_, err := fsm.Do(ctx, m.node, fsm.MoveRepository{Repository: r.Repository, To: r.Store})
	switch {
	case errors.Is(err, fsm.ErrRepositoryUnknown):
		return refusal(fmt.Sprintf("there is no repository %s", r.Repository))
	case errors.Is(err, fsm.ErrStoreUnknown):
		return refusal(fmt.Sprintf("the cluster does not know store %s yet: the leader's configuration must have it too", r.Store))
	}
	return err
}

// progress is how far a repository is.
func (m moves) progress(ctx context.Context, repository string) (a moveAnswer, err error) {
	round, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	_ = m.node.ReadIndex(round) // else it is as far as this node knows
	err = m.state.View(func(v fsm.View) error {
		r, err := v.Repository(repository)
		if err != nil {
			return refusal(fmt.Sprintf("there is no repository %s", repository))
		}
		a.moving = movingOf(r)
		return nil
	})
	for _, in := range a.Left {
		if s := m.stores.named(in.Store); s == nil || !s.GC {
			a.Kept = append(a.Kept, in.Store)
		}
	}
	return a, err
}

const moveHelp = `Moves a repository to another store while it is served: what is pushed goes there from now on, and what it has is brought
there, blob by blob and at a pace that leaves the disks to clients. STORE is one of storage.subPaths, or "default". What the
move leaves in the old store is garbage, and removed by its collection.

It waits until all is there and shows how far it is. Interrupted, or with --detach, the move goes on without it; the same
command again shows how far it is, and 'zot cluster status' which repositories are moving. A repository may be moved back,
or to yet another store, at any time.`

func moveCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "move REPO STORE",
		Short: "move a repository to another store while it is served",
		Long:  moveHelp,
		Args:  cobra.ExactArgs(2),
	}
	detach := cmd.Flags().Bool("detach", false, "do not wait until all is there")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		defer c.http.CloseIdleConnections()
		w := mover{client: c, show: newDisplay(cmd.ErrOrStderr()), glance: moveGlance, patience: movePatience}
		said, err := w.run(ctx, moveRequest{args[0], args[1]}, *detach)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	})
	return cmd
}

// mover has a repository be moved, and watches that.
type mover struct {
	*client
	show     *display
	glance   time.Duration // between two looks
	patience time.Duration // without progress, until the leader is asked what is wrong

	began moveAnswer
	start time.Time
}

// run returns what there is to say in the end, or at once if nobody wants to wait.
func (w *mover) run(ctx context.Context, r moveRequest, detach bool) (string, error) {
	w.start = time.Now()
	if err := w.call(ctx, http.MethodPost, "/cluster/move", r, &w.began); err != nil {
		return "", err
	}
	if detach && len(w.began.Left) > 0 {
		return w.began.String() + "; 'zot cluster status' shows how far it is", nil
	}
	return w.wait(ctx)
}

// wait shows how far a move is until it is over.
func (w *mover) wait(ctx context.Context) (string, error) {
	now, wrong, changed := w.began, "", time.Now()
	for len(now.Left) > 0 {
		w.show.stage(w.stage(now, wrong))
		sleep(ctx, w.glance)
		var next moveAnswer
		err := w.call(ctx, http.MethodPost, "/cluster/move", moveRequest{Repository: now.Repository}, &next)
		switch {
		case ctx.Err() != nil:
			w.show.end()
			return "", fmt.Errorf("interrupted; the move goes on, and 'zot cluster move %s %s' shows how far it is", now.Repository, now.Store)
		case errors.Is(err, errNoNode):
			w.show.end()
			return "", fmt.Errorf("the node of this machine has ended, the move goes on: %w", err)
		case err != nil:
			wrong = err.Error()
			continue
		case next.Store != now.Store:
			w.show.end()
			return "", fmt.Errorf("%s was sent to store %s meanwhile, by somebody else", now.Repository, next.Store)
		case next.left() != now.left():
			wrong, changed = "", time.Now()
		case time.Since(changed) > w.patience:
			wrong, changed = w.trouble(ctx), time.Now()
		}
		now = next
	}
	w.show.clear()
	return w.over(now), nil
}

// stage is how far a move is: on a terminal a line that is written over, else one for each step of the bar.
func (w *mover) stage(now moveAnswer, wrong string) stage {
	left := now.left()
	s := stage{
		text: fmt.Sprintf("%s moves to store %s", now.Repository, now.Store),
		goal: uint64(max(1, now.There.Bytes+left.Bytes)), applied: uint64(max(0, now.There.Bytes)),
	}
	if wrong != "" {
		s.text += ", waits: " + wrong
	}
	if w.show.terminal {
		text := fmt.Sprintf("%s %s of %s, %s left%s", bar(s.applied, s.goal), bytesText(now.There.Bytes), bytesText(now.There.Bytes+left.Bytes),
			plural(int(left.Links), "blob", "blobs"), w.timeLeft(left)) //nolint:gosec // for people
		if wrong != "" {
			text += ", waits: " + wrong
		}
		s = stage{text: text[:min(len(text), maxProgress)]}
	}
	return s
}

// timeLeft is a guess, made of what has been moved since this began to look.
func (w *mover) timeLeft(left fsm.LinksIn) string {
	moved, took := w.began.left().Bytes-left.Bytes, time.Since(w.start)
	if moved <= 0 || took < w.patience {
		return ""
	}
	rate := float64(moved) / took.Seconds()
	return fmt.Sprintf(", %s/s, %s", bytesText(int64(rate)), ago(time.Duration(float64(left.Bytes)/rate*float64(time.Second))))
}

// trouble is what the leader says of its job, "" for nothing.
func (w *mover) trouble(ctx context.Context) string {
	s, err := w.status(ctx)
	if err != nil {
		return err.Error()
	}
	for _, m := range s.Members {
		for _, j := range m.Jobs {
			if j.Name == move.Name && j.Error != "" {
				return j.Error
			}
		}
	}
	return ""
}

// over says what became of a move.
func (w *mover) over(now moveAnswer) string {
	said := []string{fmt.Sprintf("%s is in store %s: %s", now.Repository, now.Store, blobsText(now.There))}
	for _, in := range w.began.Left {
		if slices.Contains(w.began.Kept, in.Store) {
			said = append(said, fmt.Sprintf("garbage collection of store %s is off: the copies that were moved stay there until it is on", in.Store))
		} else {
			said = append(said, fmt.Sprintf("garbage collection removes the copies that were moved from store %s", in.Store))
		}
	}
	return strings.Join(said, "\n")
}
