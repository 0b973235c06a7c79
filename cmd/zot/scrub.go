package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

const scrubHelp = `Hashes every blob that lies on this machine, and says image by image whether it is as it was pushed. The node must be
stopped; one that runs does the same by itself, every extensions.scrub.interval, and mends what it can. Nothing is
mended here. Of a node of a cluster only its own disk is looked at: what lies on other nodes alone is not affected,
and only counted.

The exit code is 1 if anything is affected.`

func scrubCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "scrub FILE",
		Short: "check the blobs of a node that is stopped",
		Long:  scrubHelp,
		Args:  cobra.ExactArgs(1),
		RunE: work(func(cmd *cobra.Command, args []string) error {
			c, _, err := config.Load(args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return scrubOffline(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
}

// scrubOffline hashes the copies of a node that is stopped and prints a table of its images. It fails if
// anything is affected.
func scrubOffline(ctx context.Context, c config.Config, out, said io.Writer) (err error) {
	onDisks := slices.DeleteFunc(c.Storage.All(), func(s config.SubPath) bool { return s.Bucket != nil })
	if len(onDisks) == 0 {
		return errors.New("the copies are in a bucket, and the nodes that run scrub them, every extensions.scrub.interval; " +
			"'zot cluster verify --hash' has them all hashed now")
	}
	home, err := openStopped(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	state, err := fsm.Open(fsm.Config{Dir: home.path, Incarnation: home.Incarnation})
	if err != nil {
		return lostDisk(fmt.Errorf("open the state: %w", err), c)
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	if err := printRow(out, "IMAGE NAME", "TAG", "STATUS", "ERROR"); err != nil {
		return err
	}
	var all scrubbed
	var notHere error
	for _, s := range onDisks {
		one, err := scrubStore(ctx, s, home, state, out, said)
		if errors.Is(err, blobstore.ErrOffline) { // the others can be looked at
			notHere = errors.Join(notHere, err)
		} else if err != nil {
			return err
		}
		all = all.and(one)
	}
	_, _ = fmt.Fprintf(said, "blobs: %d hashed, %d bad; %d on other nodes alone, not looked at\n",
		all.copies, all.bad, all.elsewhere) // whoever does not read it has the exit code
	if len(onDisks) <= len(c.Storage.SubPaths) {
		_, _ = fmt.Fprintln(said, "what is in buckets was not looked at: the nodes that run scrub it") // as above
	}
	if all.affected > 0 || all.bad > 0 {
		return errors.Join(notHere, fmt.Errorf("affected images: %d, bad blobs: %d", all.affected, all.bad))
	}
	return notHere
}

// scrubbed is what was found.
type scrubbed struct {
	copies, bad, elsewhere int // blobs
	affected               int // images
}

func (s scrubbed) and(other scrubbed) scrubbed {
	return scrubbed{s.copies + other.copies, s.bad + other.bad, s.elsewhere + other.elsewhere, s.affected + other.affected}
}

// scrubStore hashes the copies of one store, and prints a line for each of its images. It fails with
// blobstore.ErrOffline if the store is not there.
func scrubStore(ctx context.Context, s config.SubPath, h *home, state *fsm.State, out, said io.Writer) (all scrubbed, err error) {
	if had, err := h.hasStore(s.Name); err == nil && !had && s.Name != fsm.DefaultStore {
		return scrubbed{}, nil // the node did not run with it yet
	}
	blobs, err := disk.Open(disk.Config{Dir: s.RootDirectory, Incarnation: blobstore.Incarnation(h.Incarnation), Name: s.Name})
	if err != nil {
		return scrubbed{}, lostStore(fmt.Errorf("open the blob store: %w", err), s)
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	k := &checker{name: s.Name, state: state, blobs: blobs, show: newDisplay(said), bad: scrub.Bad{}}
	if err := k.check(ctx); err != nil {
		return scrubbed{}, err
	}
	affected, err := k.print(ctx, out)
	return scrubbed{k.copies, len(k.bad), k.elsewhere, affected}, err
}

// openStopped opens the home of a node that does not run. It makes none.
func openStopped(ctx context.Context, c config.Config) (*home, error) {
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "tcp", c.HTTP.Listen()); err == nil {
		_ = conn.Close() // nothing was sent
		return nil, fmt.Errorf("a server answers on %s: stop it first; one that runs scrubs by itself", c.HTTP.Listen())
	}
	if _, err := os.Stat(filepath.Join(c.Storage.RootDirectory, "node", "incarnation")); err != nil {
		return nil, fmt.Errorf("there is no node in %s (storage.rootDirectory): %w", c.Storage.RootDirectory, err)
	}
	return openHome(c)
}

// checkPage is how many blobs are looked up in one view.
const checkPage = 200

// checker hashes all copies of a node's store.
type checker struct {
	name  string // of the store
	state *fsm.State
	blobs *disk.Store
	show  *display

	copies    int // that are here
	elsewhere int // blobs without one
	bytes     int64
	bad       scrub.Bad

	hashed int64 // of bytes
	shown  time.Time
}

// check hashes what is here. What cannot be read is bad, whyever.
func (k *checker) check(ctx context.Context) error {
	err := k.each(func(b blobstore.Blob, _ fsm.Digest) error {
		if len(b.Locations) == 0 {
			k.elsewhere++
			return nil
		}
		k.copies++
		k.bytes += b.Size
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		if k.hashed > 0 {
			k.show.end()
		}
	}()
	return k.each(func(b blobstore.Blob, d fsm.Digest) error {
		if len(b.Locations) == 0 {
			return nil
		}
		err := k.blobs.Verify(ctx, b, k.progress)
		if gone := k.blobs.Check(ctx); gone != nil { // nothing is learnt of copies then
			return gone
		}
		if err != nil {
			k.bad[d] = err.Error()
		}
		return nil
	})
}

// progress shows how far it is, on a terminal.
func (k *checker) progress(ctx context.Context, n int) error {
	k.hashed += int64(n)
	if k.show.terminal && time.Since(k.shown) > watchPause {
		k.shown = time.Now()
		k.show.stage(stage{text: "hashing, MiB", applied: uint64(k.hashed >> 20), goal: uint64(max(k.bytes>>20, 1))}) //nolint:gosec // sizes are not negative
	}
	return ctx.Err()
}

// maxCopies is how many locations a blob may have, and then some.
const maxCopies = 256

// each calls do with each blob of the store, of whose locations only that on this node is left.
func (k *checker) each(do func(b blobstore.Blob, d fsm.Digest) error) error {
	for copies := range maxCopies {
		for after, more := fsm.Digest(""), true; more; {
			page, err := k.page(copies, after)
			if err != nil {
				return err
			}
			for _, b := range page {
				if err := do(k.here(b), b.Digest); err != nil {
					return err
				}
				after = b.Digest
			}
			more = len(page) == checkPage
		}
	}
	return nil
}

// page returns blobs with so many locations.
func (k *checker) page(copies int, after fsm.Digest) (page []fsm.Blob, err error) {
	err = k.state.View(func(v fsm.View) error {
		for _, d := range v.WithCopies(k.name, copies, after, checkPage) {
			b, _ := v.Blob(k.name, d)
			page = append(page, b)
		}
		return nil
	})
	return page, err
}

func (k *checker) here(b fsm.Blob) blobstore.Blob {
	here := blobstore.Blob{Digest: b.Digest.Unpack(), Size: b.Size}
	for _, c := range b.Copies {
		if at := blobstore.Incarnation(c.Incarnation); at == k.blobs.Incarnation() {
			here.Locations = append(here.Locations, blobstore.Location{Incarnation: at, Copy: blobstore.CopyID(c.Copy)})
		}
	}
	return here
}

func printRow(out io.Writer, cells ...any) error {
	line := fmt.Sprintf("%-32s  %-24s  %-8s  %s", cells...)
	_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
	return err
}

// print prints a line for each image and returns how many are affected.
func (k *checker) print(ctx context.Context, out io.Writer) (affected int, err error) {
	pace := func(ctx context.Context, _ int) error { return ctx.Err() }
	err = scrub.Images(ctx, k.state, k.name, k.bad, pace, func(i scrub.Image) error {
		if i.Error == "" {
			return printRow(out, i.Name, i.Tag, "ok", "")
		}
		affected++
		return printRow(out, i.Name, i.Tag, "affected", i.Error)
	})
	return affected, err
}
