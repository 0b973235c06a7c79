package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/blobstore/s3"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/cmd/zot/transfer"
)

const importHelp = `Takes images into the cluster through the node on this machine, which must run. SOURCE is one of

  DIRECTORY                  the root directory of a zot (of the original kind, or what 'zot export' has written), or
                             an OCI image layout, for which --repository says what it is to be called
  docker://HOST              all repositories of another registry that has a catalog
  docker://HOST/NAME         one repository of it
  docker://HOST/GLOB         those of its catalog that match, as docker://registry.example/team/**
  s3://BUCKET/PREFIX         the root of a zot in a bucket; ?region= and ?endpoint= say where that is, and credentials
                             come from where those of all programs of Amazon's do
  FILE                       the configuration of a zot: its bucket or root directory, and those of its sub-paths

All tags are taken, manifests without a tag, indexes with what they list, and what refers to them. From another registry
all but manifests that no tag leads to can be listed. Who you are there 'docker login' says.

Files on the file system of the node's store are linked and not copied, and hashed by the node afterwards, before their
first byte is served. Stop the zot that they belong to first. API keys, stars, bookmarks and keys for signatures of a zot are taken too.

A tag that names something else here stays, unless --overwrite is given. What is there is not read again: run an import
that was interrupted once more, and it goes on. Exit code 1 if anything could not be taken, with a line for each.`

// importFlags are what 'zot import' is told beside its source.
type importFlags struct {
	only       []string
	repository string
	overwrite  bool
	dryRun     bool
	plainHTTP  bool
	skipVerify bool
	jobs       int
}

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import SOURCE",
		Short: "take in a zot directory, an image layout, a bucket or another registry",
		Long:  importHelp,
		Args:  cobra.ExactArgs(1),
	}
	file := configFlag(cmd)
	var f importFlags
	cmd.Flags().StringArrayVar(&f.only, "repo", nil, "take only repositories that match this glob; may be repeated")
	cmd.Flags().StringVar(&f.repository, "repository", "", "what the one repository of the source is to be called here")
	cmd.Flags().BoolVar(&f.overwrite, "overwrite", false, "set tags that name something else here")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be taken, and take nothing")
	cmd.Flags().BoolVar(&f.plainHTTP, "plain-http", false, "ask the registry over HTTP; the default for one on this machine")
	cmd.Flags().BoolVar(&f.skipVerify, "skip-verify", false, "take any certificate of the registry")
	cmd.Flags().IntVar(&f.jobs, "jobs", 4, "how many images are taken at a time, and how many blobs")
	cmd.RunE = work(func(cmd *cobra.Command, args []string) error {
		return runImport(cmd, *file, args[0], f)
	})
	return cmd
}

// origin is where an import takes from.
type origin struct {
	source transfer.Source
	close  func() error
	only   []string // from the source's own name
	people string   // a directory that may have keys and marks of people; "": there is none
}

func runImport(cmd *cobra.Command, file, source string, f importFlags) (err error) {
	ctx := cmd.Context()
	if f.jobs < 1 {
		return fmt.Errorf("--jobs %d: 1 or more", f.jobs)
	}
	node, closeNode, err := connectNode(ctx, file)
	if err != nil {
		return err
	}
	defer closeNode()
	from, err := openOrigin(ctx, source, f)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	defer func() { err = errors.Join(err, from.close()) }()
	show := newTransferDisplay(cmd.ErrOrStderr())
	o := transfer.Options{
		Only: append(from.only, f.only...), Rename: f.repository, Overwrite: f.overwrite, DryRun: f.dryRun, Jobs: f.jobs,
		Problem: show.problem, Note: func(why string) {
			show.line("files are uploaded where they cannot be linked: " + why)
		},
	}
	copied := show.copy(ctx, from.source, node, o)
	people := errors.New("keys and marks were not looked at")
	if copied == nil {
		people = takePeople(ctx, cmd.OutOrStdout(), node, from.people, f.dryRun)
	}
	if err := show.summary(cmd.OutOrStdout(), f.dryRun); err != nil {
		return err
	}
	if copied != nil {
		return copied
	}
	return errors.Join(show.err(), people)
}

// openOrigin finds out what a source is.
func openOrigin(ctx context.Context, source string, f importFlags) (origin, error) {
	scheme, rest, ok := strings.Cut(source, "://")
	switch {
	case ok && scheme == "docker":
		return openRegistrySource(rest, f)
	case ok && scheme == "s3":
		return openBucketURL(ctx, source)
	case ok:
		return origin{}, fmt.Errorf("%s:// is none of docker:// and s3://; what lies in a directory is named by its path", scheme)
	}
	info, err := os.Stat(source)
	if err != nil {
		return origin{}, err
	}
	if info.IsDir() {
		return openDirectory(ctx, source, f.repository)
	}
	c, _, err := config.Load(source)
	if c.Storage.RootDirectory == "" {
		return origin{}, errors.Join(errors.New("this is a file, and no configuration of a zot"), err)
	}
	return openConfigured(ctx, c.Storage)
}

// openConfigured opens all stores of a zot. One in which there is nothing yet does not count.
func openConfigured(ctx context.Context, c config.Storage) (o origin, err error) {
	var all []transfer.Source
	var opened opened
	for _, s := range c.All() {
		var one origin
		if s.Bucket != nil {
			one, err = openBucket(ctx, bucketOf(s.Bucket), s.Bucket.Root)
		} else {
			one, err = openDirectory(ctx, s.RootDirectory, "")
		}
		if errors.Is(err, transfer.ErrNoLayout) {
			continue
		}
		if err != nil {
			return o, errors.Join(fmt.Errorf("store %s: %w", s.Name, err), opened.close())
		}
		opened.add(one.close)
		all = append(all, one.source)
	}
	if len(all) == 0 {
		return o, transfer.ErrNoLayout
	}
	source, err := transfer.Several(ctx, all...)
	if err != nil {
		return o, errors.Join(err, opened.close())
	}
	return origin{source: source, close: opened.close, people: c.RootDirectory}, nil
}

func openRegistrySource(rest string, f importFlags) (origin, error) {
	host, path, _ := strings.Cut(rest, "/")
	c := transfer.RemoteConfig{Host: host, PlainHTTP: f.plainHTTP, SkipVerify: f.skipVerify}
	o := origin{close: func() error { return nil }}
	if strings.ContainsAny(path, "*?[{") {
		o.only = []string{path}
	} else {
		c.Repository = path
	}
	r, err := transfer.NewRemote(c)
	o.source = r
	return o, err
}

func openDirectory(ctx context.Context, path, name string) (origin, error) {
	d, err := transfer.OpenDirectory(ctx, path, name)
	if err != nil {
		return origin{}, err
	}
	return origin{source: d, close: d.Close, people: d.Path()}, nil
}

// openBucketURL opens s3://bucket/prefix?region=R&endpoint=E.
func openBucketURL(ctx context.Context, source string) (origin, error) {
	u, err := url.Parse(source)
	if err != nil {
		return origin{}, err
	}
	b := s3.Bucket{Name: u.Host, Region: u.Query().Get("region"), Endpoint: u.Query().Get("endpoint")}
	if b.Endpoint == "" {
		b.Endpoint = os.Getenv("AWS_ENDPOINT_URL_S3")
	}
	if b.Endpoint == "" {
		b.Endpoint = os.Getenv("AWS_ENDPOINT_URL")
	}
	b.PathStyle = b.Endpoint != ""
	return openBucket(ctx, b, u.Path)
}

func openBucket(ctx context.Context, b s3.Bucket, prefix string) (origin, error) {
	s, err := transfer.OpenBucket(ctx, b, prefix)
	if err != nil {
		return origin{}, err
	}
	return origin{source: s, close: s.Close}, nil
}

// takePeople takes what people have left in a zot's directory.
func takePeople(ctx context.Context, out io.Writer, node *transfer.Node, directory string, dryRun bool) error {
	if directory == "" {
		return nil
	}
	p, err := transfer.ReadPeople(directory)
	if err != nil {
		return fmt.Errorf("API keys, stars, bookmarks and keys for signatures are not taken: %w", err)
	}
	if len(p.Keys)+len(p.Marks)+len(p.Trusted) == 0 {
		return nil
	}
	if dryRun {
		_, err := fmt.Fprintf(out, "would take %d API keys, %d stars and bookmarks, and %d keys for signatures\n", len(p.Keys), len(p.Marks), len(p.Trusted))
		return err
	}
	taken, there, refused, err := node.PutPeople(ctx, p)
	if err != nil {
		return fmt.Errorf("API keys, stars, bookmarks and keys for signatures: %w", err)
	}
	for _, line := range refused {
		if _, err := fmt.Fprintln(out, "left out:", line); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "API keys, stars, bookmarks and keys for signatures: %d taken, %d were there\n", taken, there)
	return err
}
