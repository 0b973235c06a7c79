package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/fsm/oci"
)

func tagCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tag",
		Short: "show what tags named before, and bring it back, through the node on this machine",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	file := configFlag(cmd)
	cmd.AddCommand(historyCommand(file), restoreCommand(file))
	return cmd
}

const historyHelp = `Shows what a tag names and what it named before, the newest first: since when, until when, and whether the
manifest is still here, so that 'zot tag restore' can bring it back. REPOSITORY alone shows its deleted tags and what
each named last.

Of a tag the 16 manifests before the present one are remembered, of a repository the 200 tags that were deleted last.`

func historyCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history REPOSITORY[:TAG]",
		Short: "show what a tag named before, or which tags were deleted",
		Long:  historyHelp,
		Args:  cobra.ExactArgs(1),
	}
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		r, err := parseTagName(args[0])
		if err != nil {
			return err
		}
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		var h tagHistory
		if err := c.call(cmd.Context(), http.MethodPost, "/registry/tag/history", r, &h); err != nil {
			return err
		}
		if r.Tag == "" {
			return printDeleted(cmd.OutOrStdout(), r.Repository, h)
		}
		return printHistory(cmd.OutOrStdout(), r, h)
	})
	return cmd
}

const restoreHelp = `Makes a tag name a manifest again that it named before: the last one, unless --at or --to says which. A tag that was
deleted exists again. 'zot tag history' shows the choice. What the tag names now becomes part of its history, so that
this too can be undone.

It can be done as long as the manifest is in the repository: one that was deleted, by hand or because a retention
policy did not keep it, is gone.`

func restoreCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore REPOSITORY:TAG [--at N | --to DIGEST]",
		Short: "make a tag name again what it named before",
		Long:  restoreHelp,
		Args:  cobra.ExactArgs(1),
	}
	at := cmd.Flags().Int("at", 1, "which of its manifests, by the number that 'zot tag history' shows; 1 is the last before this one")
	to := cmd.Flags().String("to", "", "the manifest's digest, or the beginning of it")
	cmd.MarkFlagsMutuallyExclusive("at", "to")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		r, err := parseTagName(args[0])
		if err == nil && r.Tag == "" {
			err = fmt.Errorf("%q names no tag: write REPOSITORY:TAG, as team/app:v1", args[0])
		}
		if err != nil {
			return err
		}
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		var h tagHistory
		if err := c.call(cmd.Context(), http.MethodPost, "/registry/tag/history", r, &h); err != nil {
			return err
		}
		past := h.Tags[0]
		wanted, err := choose(r, past, *at, *to)
		if err != nil {
			return err
		}
		request := restoreRequest{tagRequest: r, Digest: wanted.Digest}
		if past.Now != nil {
			request.Is = past.Now.Digest
		}
		if err := c.call(cmd.Context(), http.MethodPost, "/registry/tag/restore", request, &struct{}{}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s again, as from %s to %s\n", r, wanted.Digest, seconds(wanted.From), seconds(wanted.Until))
		return err
	})
	return cmd
}

// String is as an operator writes it.
func (r tagRequest) String() string {
	if r.Tag == "" {
		return r.Repository
	}
	return r.Repository + ":" + r.Tag
}

// parseTagName reads REPOSITORY[:TAG].
func parseTagName(text string) (r tagRequest, err error) {
	if strings.Contains(text, "@") {
		return r, fmt.Errorf("%q names a manifest: write REPOSITORY:TAG, as team/app:v1", text)
	}
	r.Repository = text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, '/') {
		r = tagRequest{text[:i], text[i+1:]}
		if err := oci.ValidateTag(r.Tag); err != nil {
			return tagRequest{}, err
		}
	}
	if err := oci.ValidateRepository(r.Repository); err != nil {
		if strings.Contains(r.Repository, ":") {
			err = fmt.Errorf("%w; leave out the host of the registry", err)
		}
		return tagRequest{}, err
	}
	return r, nil
}

// choose finds the manifest that a tag is to name again.
func choose(r tagRequest, past tagPast, at int, to string) (target, error) {
	if len(past.Names) == 0 {
		if past.Now != nil {
			return target{}, fmt.Errorf("%s has named nothing but what it names now", r)
		}
		return target{}, fmt.Errorf("nothing is known of %s: it never was, or was deleted so long ago that it is forgotten; 'zot tag history %s' shows the deleted tags", r, r.Repository)
	}
	wanted, err := find(r, past, at, to)
	switch {
	case err != nil:
		return target{}, err
	case past.Now != nil && past.Now.Digest == wanted.Digest:
		return target{}, fmt.Errorf("%s is %s already", r, wanted.Digest)
	case wanted.Here:
		return wanted, nil
	}
	err = fmt.Errorf("%s was %s, which was deleted since: its bytes are collected or soon will be, and it cannot be brought back", r, wanted.Digest)
	if here := stillHere(past); here != "" {
		err = fmt.Errorf("%w. Still here: %s", err, here)
	}
	return target{}, err
}

func find(r tagRequest, past tagPast, at int, to string) (target, error) {
	if to == "" {
		if at < 1 || at > len(past.Names) {
			return target{}, fmt.Errorf("%s has no number %d, only 1 to %d: see 'zot tag history %s'", r, at, len(past.Names), r)
		}
		return past.Names[at-1], nil
	}
	found := map[string]target{}
	for _, n := range past.Names {
		_, encoded, _ := strings.Cut(n.Digest, ":")
		if _, known := found[n.Digest]; !known && (strings.HasPrefix(n.Digest, to) || strings.HasPrefix(encoded, to)) {
			found[n.Digest] = n
		}
	}
	switch len(found) {
	case 0:
		return target{}, fmt.Errorf("%s never named %s, or that is forgotten: see 'zot tag history %s'", r, to, r)
	case 1:
		for _, n := range found {
			return n, nil
		}
	}
	return target{}, errors.New(to + " is the beginning of several digests: write more of it")
}

// stillHere lists the numbers that can be restored.
func stillHere(past tagPast) string {
	var numbers []string
	for i, n := range past.Names {
		if n.Here && (past.Now == nil || past.Now.Digest != n.Digest) {
			numbers = append(numbers, "--at "+strconv.Itoa(i+1))
		}
	}
	return strings.Join(numbers, ", ")
}

func printHistory(out io.Writer, r tagRequest, h tagHistory) error {
	var b strings.Builder
	sayStale(&b, h)
	past := h.Tags[0]
	if past.Now == nil && len(past.Names) == 0 {
		return fmt.Errorf("nothing is known of %s: it never was, or was deleted so long ago that it is forgotten; 'zot tag history %s' shows the deleted tags", r, r.Repository)
	}
	if past.Now == nil {
		fmt.Fprintf(&b, "%s was deleted at %s\n\n", r, seconds(past.Names[0].Until))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // into memory
	row("AT", "FROM", "UNTIL", "MANIFEST", "DIGEST")
	if past.Now != nil {
		row("now", seconds(past.Now.From), "-", here(past.Now.Here), past.Now.Digest)
	}
	for i, n := range past.Names {
		row(strconv.Itoa(i+1), seconds(n.From), seconds(n.Until), here(n.Here), n.Digest)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func printDeleted(out io.Writer, repository string, h tagHistory) error {
	var b strings.Builder
	sayStale(&b, h)
	if len(h.Tags) == 0 {
		fmt.Fprintf(&b, "no deleted tag of %s is remembered\n", repository)
	} else {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "TAG\tDELETED\tMANIFEST\tLAST DIGEST") // into memory, as what follows
		for _, t := range h.Tags {
			if last := t.Names; len(last) > 0 {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Tag, seconds(last[0].Until), here(last[0].Here), last[0].Digest)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func sayStale(b *strings.Builder, h tagHistory) {
	if h.Stale {
		b.WriteString("no quorum answers: this is what this node knows\n")
	}
}

func here(is bool) string {
	if is {
		return "here"
	}
	return "gone"
}

// seconds is a date for people; a dash for none.
func seconds(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
