package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	watchPause = 250 * time.Millisecond
	barWidth   = 30
)

// watch shows how the node of this machine becomes a member, and returns when it is one.
func (j *joiner) watch(ctx context.Context) error {
	c, err := newClient(j.file)
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	show := newDisplay(j.out)
	for {
		s, err := c.status(ctx)
		now := j.stage(s, err)
		show.stage(now)
		if now.over {
			show.end()
			return now.err
		}
		if sleep(ctx, watchPause); ctx.Err() != nil {
			show.end()
			return fmt.Errorf("interrupted; the secret is here, so 'zot serve %s' is all that remains: the node joins by itself, "+
				"and 'zot cluster status --config %s' shows how far it is", j.file, j.file)
		}
	}
}

// stage is how far a node is.
type stage struct {
	text          string
	applied, goal uint64 // of catching up; no bar if goal is 0
	over          bool
	err           error // why it is over without the node being a member
}

// stage makes one of what the node on this machine says, which may be nothing yet.
func (j *joiner) stage(s clusterStatus, err error) stage {
	if errors.Is(err, errNoNode) {
		return stage{text: fmt.Sprintf("waiting for 'zot serve %s' to be started on this machine", j.file)}
	}
	if err != nil {
		return stage{text: "the node starts: " + err.Error()}
	}
	m, known := j.self(s)
	switch {
	case !known && s.Waiting != "":
		return stage{text: "the node waits to be admitted: " + s.Waiting}
	case !known:
		return stage{text: "the node waits to be admitted"}
	case m.State == "member" && m.Voter:
		return stage{text: fmt.Sprintf("%s is a member of cluster %s, and votes", m.Name, j.config.Cluster.Name), over: true}
	case m.State == "retired" || m.State == "dropped":
		err := fmt.Errorf("%s was removed from the cluster meanwhile: stop it, and empty %s to let it join anew", m.Name, j.config.Storage.RootDirectory)
		return stage{text: "the node is " + m.State, over: true, err: err}
	case m.Voter:
		return stage{text: "caught up, votes, and is about to become a member"}
	case m.Applied == nil || m.Lag == nil:
		return stage{text: "admitted; the state of the cluster is on its way"}
	case *m.Lag == 0:
		return stage{text: "caught up; it votes when it has kept up for some seconds"}
	default:
		return stage{text: "admitted, catching up", applied: *m.Applied, goal: *m.Applied + *m.Lag}
	}
}

// self is this machine's node among the others, by what it is, not by a name that another may have had.
func (j *joiner) self(s clusterStatus) (memberStatus, bool) {
	content, err := os.ReadFile(filepath.Join(j.config.Storage.RootDirectory, "node", "incarnation"))
	if err != nil {
		return memberStatus{}, false
	}
	for _, m := range s.Members {
		if m.Incarnation.String() == strings.TrimSpace(string(content)) && m.State != "" {
			return m, true
		}
	}
	return memberStatus{}, false
}

// display writes stages: over each other on a terminal, elsewhere a line for each that is new.
type display struct {
	out      io.Writer
	terminal bool
	last     string
}

func newDisplay(out io.Writer) *display {
	d := &display{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		d.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return d
}

func (d *display) stage(s stage) {
	text := s.text
	if s.goal > 0 {
		text += " " + bar(s.applied, s.goal)
		if d.terminal {
			text += fmt.Sprintf(" %d of %d", s.applied, s.goal)
		}
	}
	if text == d.last {
		return
	}
	if d.terminal {
		_, _ = fmt.Fprintf(d.out, "\r\x1b[K%s", text) // a terminal that has gone away shows nothing
	} else {
		_, _ = fmt.Fprintln(d.out, text) // as above
	}
	d.last = text
}

// clear takes the last stage off a terminal.
func (d *display) clear() {
	if d.terminal && d.last != "" {
		_, _ = fmt.Fprint(d.out, "\r\x1b[K") // as above
	}
}

// end leaves the last stage where it stands.
func (d *display) end() {
	if d.terminal {
		_, _ = fmt.Fprintln(d.out) // as above
	}
}

func bar(applied, goal uint64) string {
	full := int(min(applied, goal) * barWidth / goal) //nolint:gosec // at most barWidth
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}
