package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func snapshotCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "back the cluster up, and restore it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(saveSnapshotCommand(file), inspectSnapshotCommand(), restoreSnapshotCommand(file))
	return cmd
}

func addPlaceFlags(cmd *cobra.Command) *placeFlags {
	f := &placeFlags{}
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "address of the store of s3://BUCKET, such as https://minio:9000; Amazon's if not said")
	cmd.Flags().StringVar(&f.region, "region", "", "region of the bucket; AWS_REGION, or us-east-1, if not said")
	return f
}

const saveSnapshotHelp = `Saves the state of the cluster, through the node on this machine: repositories, tags and their history, manifests, API keys,
stars. FILE gets the state alone, without the bytes of blobs.

With --blobs PLACE the bytes are saved too. PLACE is a directory or s3://BUCKET/PREFIX, with the credentials that all of
Amazon's programs use. A blob that is there already is not sent again, so that every run but the first sends only what is
new; each is hashed on its way. A run that was interrupted goes on where it was. Snapshots are kept until their folder
PLACE/snapshots/ID is removed.

The cluster serves meanwhile. The snapshot is of one moment: what was acknowledged before is in it.

Exit code 1 if a blob could not be had, because the cluster has no good copy of it: the snapshot is saved all the same, and
says which. --allow-damaged has that be no failure.`

func saveSnapshotCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE | save --blobs PLACE",
		Short: "save the state, and the bytes too",
		Long:  saveSnapshotHelp,
	}
	place := cmd.Flags().String("blobs", "", "save the bytes too, into this directory or s3://BUCKET/PREFIX")
	verify := cmd.Flags().Bool("verify", false, "hash again what is there already, and save anew what is bad")
	allow := cmd.Flags().Bool("allow-damaged", false, "blobs of which the cluster has no good copy are no failure")
	f := addPlaceFlags(cmd)
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if (*place == "") == (len(args) == 0) || len(args) > 1 {
			return errors.New("either FILE or --blobs PLACE is needed")
		}
		return nil
	}
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		node, err := newSnapshotClient(*file)
		if err != nil {
			return err
		}
		return inTemporary(func(tmp string) error {
			out := cmd.OutOrStdout()
			if len(args) == 1 {
				d, err := saveFile(cmd.Context(), node, args[0], tmp)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(out, "saved the state in %s: %s; no bytes of blobs\n", args[0], d.contents())
				return err
			}
			return saveBlobs(cmd.Context(), node, *place, *f, *verify, *allow, tmp, out, newDisplay(cmd.ErrOrStderr()))
		})
	})
	return cmd
}

// inTemporary calls do with a directory that is removed afterwards.
func inTemporary(do func(tmp string) error) error {
	tmp, err := os.MkdirTemp("", "zot-snapshot-")
	if err != nil {
		return err
	}
	return errors.Join(do(tmp), os.RemoveAll(tmp))
}

func saveBlobs(ctx context.Context, node *snapshotClient, name string, f placeFlags, verify, allow bool, tmp string, out io.Writer, show *display) (err error) {
	to, err := openBackups(ctx, name, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	s := &saver{node: node, to: to, verify: verify, tmp: tmp, show: show}
	d, err := s.run(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "saved snapshot %s in %s: %s; %d blobs with %s were new\n", d.ID, to, d.contents(), s.fetched, bytesText(s.bytes))
	return errors.Join(err, printMissing(out, d.Missing, allow, "not saved"))
}

// contents is what is in a snapshot, in a line.
func (d described) contents() string {
	return fmt.Sprintf("%d repositories, %d tags, %d manifests, %d blobs with %s", d.Repositories, d.Tags, d.Manifests, d.Blobs, bytesText(d.Bytes))
}

// printMissing names blobs whose bytes are missing, and fails unless there are none, or that is allowed.
func printMissing(out io.Writer, missing []missingBlob, allow bool, what string) error {
	for _, m := range missing {
		if _, err := fmt.Fprintf(out, "%s: %s\n", what, m); err != nil {
			return err
		}
	}
	if len(missing) == 0 || allow {
		return nil
	}
	return fmt.Errorf("%d blobs are missing", len(missing))
}

const inspectSnapshotHelp = `Shows what is in a snapshot: in a FILE that 'save' wrote, or in PLACE/ID. PLACE alone lists the snapshots there.

--verify reads all of it: the state is checked record by record, and every blob that it needs is hashed. Exit code 1 if
anything is missing or not as it was saved. It needs no node.`

func inspectSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE | PLACE[/ID]",
		Short: "show, and check, what was saved",
		Long:  inspectSnapshotHelp,
		Args:  cobra.ExactArgs(1),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	verify := cmd.Flags().Bool("verify", false, "read everything, and hash it again; of PLACE the newest snapshot")
	f := addPlaceFlags(cmd)
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		ctx, out := cmd.Context(), cmd.OutOrStdout()
		if _, id := splitPlace(args[0]); id == "" && !*verify {
			if info, err := os.Stat(args[0]); err != nil || !info.Mode().IsRegular() {
				return listSnapshots(ctx, args[0], *f, *asJSON, out)
			}
		}
		return inTemporary(func(tmp string) error {
			return inspectSnapshot(ctx, args[0], *f, *verify, *asJSON, tmp, out, newDisplay(cmd.ErrOrStderr()))
		})
	})
	return cmd
}

func listSnapshots(ctx context.Context, name string, f placeFlags, asJSON bool, out io.Writer) (err error) {
	p, err := openBackups(ctx, name, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	ids, err := snapshotsIn(ctx, p)
	if err != nil {
		return err
	}
	all := []described{}
	for _, id := range ids {
		d, err := readDescribed(ctx, p, id)
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	if asJSON {
		return printJSON(out, all)
	}
	if len(all) == 0 {
		return fmt.Errorf("there is no snapshot in %s", p)
	}
	for _, d := range all {
		if _, err := fmt.Fprintf(out, "%s  cluster %s: %s%s\n", d.ID, d.Cluster.Name, d.contents(), missingText(d)); err != nil {
			return err
		}
	}
	return nil
}

func missingText(d described) string {
	if len(d.Missing) == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of these not saved", len(d.Missing))
}

func printJSON(out io.Writer, v any) error {
	encoded, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(out, string(encoded))
	}
	return err
}

func inspectSnapshot(ctx context.Context, name string, f placeFlags, verify, asJSON bool, tmp string, out io.Writer, show *display) (err error) {
	s, err := openSource(ctx, name, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d := s.about
	var bad []missingBlob
	if verify || s.place == nil {
		if bad, d, err = verifySnapshot(ctx, s, verify, tmp, show); err != nil {
			return err
		}
	}
	if asJSON {
		err = printJSON(out, d)
	} else {
		err = printSnapshot(out, d, s, verify)
	}
	return errors.Join(err, printMissing(out, bad, false, "bad"))
}

// verifySnapshot checks the state of a snapshot and hashes its blobs; those that were not saved in the first place are among the bad.
func verifySnapshot(ctx context.Context, s source, verify bool, tmp string, show *display) (bad []missingBlob, d described, err error) {
	saved, err := s.state(ctx, tmp)
	if err != nil {
		return nil, d, err
	}
	defer func() { err = errors.Join(err, saved.Close()) }()
	if s.place == nil {
		d, err = describe(saved)
		return nil, d, err
	}
	if verify {
		bad, err = hashSaved(ctx, s.place, saved, show, func(string, int64) bool { return true })
	}
	return bad, s.about, err
}

func printSnapshot(out io.Writer, d described, s source, verified bool) error {
	text := fmt.Sprintf("cluster      %s (%s)\nstate        log index %d of term %d, feature level %d\ncontents     %s\n", d.Cluster.Name, d.Cluster.ID, d.Index, d.Term, d.Level, d.contents())
	if s.place == nil {
		text += "blobs        only the state was saved\n"
	} else {
		text = fmt.Sprintf("snapshot     %s\nmade         %s\n", d.ID, d.Made.Format("2006-01-02 15:04:05 MST")) + text
		for _, m := range d.Missing {
			text += fmt.Sprintf("not saved    %s\n", m)
		}
	}
	if verified {
		text += "verified     all that was saved was read and hashed\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

const restoreSnapshotHelp = `Restores a snapshot into a cluster of new nodes that runs and holds nothing yet, through the node on this machine: from
PLACE/ID, from the newest of PLACE, or from a FILE that has the state alone. First comes the state, then the bytes of each
blob, which are hashed and written as those of any push. Until its bytes are there a blob cannot be pulled; pushes are
refused only until the state is there.

The cluster stays the one that it is: its nodes, its id and its configuration are its own. Whoever was logged in has to log
in again. A restore that was interrupted goes on where it was, by the same command.

Exit code 1 if the bytes of a blob are missing in the backup, or damaged there: a push of the image heals it.`

func restoreSnapshotCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE | PLACE[/ID]",
		Short: "restore a snapshot into a cluster that is empty",
		Long:  restoreSnapshotHelp,
		Args:  cobra.ExactArgs(1),
	}
	f := addPlaceFlags(cmd)
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		node, err := newSnapshotClient(*file)
		if err != nil {
			return err
		}
		return inTemporary(func(tmp string) (err error) {
			from, err := openSource(cmd.Context(), args[0], *f)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, from.close()) }()
			r := &restorer{node: node, from: from, tmp: tmp, show: newDisplay(cmd.ErrOrStderr())}
			done, err := r.run(cmd.Context())
			if err != nil {
				return err
			}
			return errors.Join(printRestored(cmd.OutOrStdout(), from, done), printMissing(cmd.OutOrStdout(), done.missing, false, "missing"))
		})
	})
	return cmd
}

func printRestored(out io.Writer, from source, done restored) error {
	how := fmt.Sprintf("restored snapshot %s: %d records of state", from, done.records)
	if done.already {
		how = fmt.Sprintf("the state of snapshot %s had been restored before", from)
	}
	_, err := fmt.Fprintf(out, "%s; %d blobs with %s were pushed\n", how, done.blobs, bytesText(done.bytes))
	return err
}
