package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

func verifyFeatureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify-feature",
		Short: "show what a part of a configuration would do",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verifyRetentionCommand())
	return cmd
}

const verifyRetentionHelp = `Shows what storage.retention of FILE, and that of each sub-path, would remove now, repository by repository, and why. It changes nothing, whatever
dryRun says.

The node that runs in storage.rootDirectory is asked, which need not run with FILE itself: so a new file can be tried
before it is used. If none runs, the state that it has left there is read; it may be older than that of the cluster.`

func verifyRetentionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention FILE",
		Short: "show what storage.retention would remove",
		Long:  verifyRetentionHelp,
		Args:  cobra.ExactArgs(1),
	}
	all := cmd.Flags().Bool("all", false, "show also what stays, and why")
	logFile := cmd.Flags().StringP("log-file", "l", "", "write to a file in place of standard output")
	// zot's command goes on for ever, or until a time.
	cmd.Flags().DurationP("gc-interval", "i", 0, "says nothing: what would be removed is shown once")
	cmd.Flags().DurationP("timeout", "t", 0, "says nothing, as --gc-interval")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) (err error) {
		out := cmd.OutOrStdout()
		if *logFile != "" {
			f, failed := os.OpenFile(*logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if failed != nil {
				return failed
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			out = f
		}
		return verifyRetention(cmd.Context(), out, args[0], *all)
	})
	return cmd
}

// verifyRetention prints what the policies of a file would do.
func verifyRetention(ctx context.Context, out io.Writer, file string, all bool) (err error) {
	c, notes, err := config.Load(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, n := range notes {
		if strings.HasPrefix(n.Key, "storage.") && strings.Contains(n.Key, ".retention") {
			if _, err := fmt.Fprintf(out, "note: %s: %s\n", n.Key, n.Text); err != nil {
				return err
			}
		}
	}
	with := slices.DeleteFunc(c.Storage.All(), func(s config.SubPath) bool { return len(s.Retention.Policies) == 0 })
	if len(with) == 0 {
		_, err := fmt.Fprintln(out, "storage.retention has no policies: every tag and every manifest stays")
		return err
	}
	ask, end, err := asker(ctx, out, file, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, s := range with {
		if len(c.Storage.SubPaths) > 0 {
			if _, err := fmt.Fprintf(out, "%s:\n", s.Key("retention")); err != nil {
				return err
			}
		}
		if err := previewStore(ctx, out, s, all, ask); err != nil {
			return err
		}
	}
	return nil
}

// previewStore prints what the policies of one store would do.
func previewStore(ctx context.Context, out io.Writer, s config.SubPath, all bool, ask func(context.Context, previewRequest) (previewAnswer, error)) error {
	r := report{out: out, all: all}
	for request := (previewRequest{Store: s.Name, Retention: s.Retention, All: all}); ; {
		answer, err := ask(ctx, request)
		if err == nil {
			err = r.page(answer)
		}
		if err != nil || !answer.More {
			return err
		}
		request.After = answer.Repositories[len(answer.Repositories)-1].Repository
	}
}

// asker finds who knows the registry: the node that runs, or else what it has left, which it says. The caller
// calls end.
func asker(ctx context.Context, out io.Writer, file string, c config.Config) (ask func(context.Context, previewRequest) (previewAnswer, error), end func() error, err error) {
	client, err := newClient(file)
	if err != nil {
		return nil, nil, err
	}
	if _, err := client.status(ctx); !errors.Is(err, errNoNode) {
		return client.preview, func() error { client.http.CloseIdleConnections(); return nil }, nil
	}
	state, end, err := openLeft(c)
	if err != nil {
		return nil, nil, err
	}
	if _, err := fmt.Fprintf(out, "note: no node runs in %s: this is as it was when one stopped\n", c.Storage.RootDirectory); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return func(ctx context.Context, r previewRequest) (previewAnswer, error) { return preview(ctx, state, r) }, end, nil
}

func (c *client) preview(ctx context.Context, r previewRequest) (a previewAnswer, err error) {
	return a, c.call(ctx, http.MethodPost, "/registry/retention/preview", r, &a)
}

// openLeft opens the state of a node that does not run, and keeps it from starting until end is called.
func openLeft(c config.Config) (state *fsm.State, end func() error, err error) {
	if _, err := os.Stat(filepath.Join(c.Storage.RootDirectory, "node", "incarnation")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no node runs in %s, and none has: there is nothing to look at", c.Storage.RootDirectory)
	}
	h, err := openHome(c)
	if err != nil {
		return nil, nil, err
	}
	state, err = fsm.Open(fsm.Config{Dir: h.path, Incarnation: h.Incarnation})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the state: %w", err), h.Close())
	}
	return state, func() error { return errors.Join(state.Close(), h.Close()) }, nil
}

// report prints previews.
type report struct {
	out io.Writer
	all bool // also what stays

	repositories, concerned, tags, manifests int
}

// page prints the repositories of a page, and after the last of them the sum.
func (r *report) page(a previewAnswer) error {
	var b strings.Builder
	for _, p := range a.Repositories {
		r.repositories++
		r.tags += p.GoingTags
		r.manifests += p.GoingManifests
		if p.GoingTags+p.GoingManifests > 0 {
			r.concerned++
		} else if !r.all {
			continue
		}
		if err := r.repository(&b, p); err != nil {
			return err
		}
	}
	if !a.More {
		fmt.Fprintf(&b, "%s and %s would be removed, from %d of %s; by the date %s\n", plural(r.tags, "tag", "tags"),
			plural(r.manifests, "manifest", "manifests"), r.concerned, plural(r.repositories, "repository", "repositories"), seconds(a.Date))
	}
	_, err := io.WriteString(r.out, b.String())
	return err
}

func (r *report) repository(b *strings.Builder, p repositoryPreview) error {
	if p.Policy < 0 {
		fmt.Fprintf(b, "%s: no policy is for it, and everything stays\n\n", p.Repository)
		return nil
	}
	fmt.Fprintf(b, "%s: policies[%d] removes %d of %s and %s\n", p.Repository, p.Policy, p.GoingTags, plural(p.Tags, "tag", "tags"),
		plural(p.GoingManifests, "manifest", "manifests"))
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, "  "+strings.Join(cells, "\t")) } // into memory
	row("", "TAG", "PUSHED", "PULLED", "REASON", "DIGEST")
	for _, t := range p.Things {
		what := "stays"
		if t.Goes {
			what = "goes"
		}
		row(what, cmp.Or(t.Tag, "-"), seconds(t.Pushed), seconds(t.Pulled), t.Reason, t.Digest)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !r.all && len(p.Things) < p.GoingTags+p.GoingManifests {
		fmt.Fprintf(b, "  and %d more\n", p.GoingTags+p.GoingManifests-len(p.Things))
	}
	b.WriteString("\n")
	return nil
}

// plural is a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
