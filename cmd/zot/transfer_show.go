package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/transfer"
)

// How often a transfer says how far it is: on a terminal, and elsewhere.
const (
	showEvery = 500 * time.Millisecond
	lineEvery = 10 * time.Second
)

// connectNode finds the node of this machine as one that images are copied to or from. It fails, with what can be done,
// if none runs. Requests may take any time: a layer may have any size.
func connectNode(ctx context.Context, file string) (*transfer.Node, func(), error) {
	c, err := newClient(file)
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.status(ctx); err != nil {
		return nil, nil, err
	}
	endless := &http.Client{Transport: c.http.Transport}
	return transfer.NewNode(endless, "http://zot"), endless.CloseIdleConnections, nil
}

// transferDisplay shows how far a transfer is, and what went wrong in it.
type transferDisplay struct {
	progress transfer.Progress
	began    time.Time

	mu   sync.Mutex
	show *display
	out  io.Writer
}

func newTransferDisplay(out io.Writer) *transferDisplay {
	return &transferDisplay{show: newDisplay(out), out: out, began: time.Now()}
}

// copy copies, and shows how far it is meanwhile.
func (d *transferDisplay) copy(ctx context.Context, from transfer.Source, to transfer.Target, o transfer.Options) error {
	done := make(chan error, 1)
	go func() { done <- transfer.Copy(ctx, from, to, o, &d.progress) }() // waited for below
	every := lineEvery
	if d.show.terminal {
		every = showEvery
	}
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		select {
		case err := <-done:
			d.mu.Lock()
			defer d.mu.Unlock()
			d.show.clear()
			return err
		case now := <-again.C:
			d.mu.Lock()
			d.show.stage(d.stage(now))
			d.mu.Unlock()
		}
	}
}

// stage is how far it is at a time.
func (d *transferDisplay) stage(now time.Time) stage {
	p := &d.progress
	done, total := p.Images.Done.Load(), p.Images.Total.Load()
	if total == 0 {
		return stage{text: "looking for images"}
	}
	took := now.Sub(d.began)
	text := fmt.Sprintf("%s %d of %d, %s", bar(uint64(done), uint64(total)), done, total, bytesText(p.Bytes.Load())) //nolint:gosec // neither is negative
	if linked := p.BytesLinked.Load(); linked > 0 {
		text += fmt.Sprintf(" and %s linked", bytesText(linked))
	}
	if seconds := took.Seconds(); seconds >= 1 {
		text += fmt.Sprintf(", %s/s", bytesText(int64(float64(p.Bytes.Load())/seconds)))
	}
	if done > 0 && done < total {
		left := time.Duration(float64(took) / float64(done) * float64(total-done))
		text += fmt.Sprintf(", %s left", ago(left.Round(time.Second)))
	}
	return stage{text: text[:min(len(text), maxProgress)]}
}

// line says something beside how far it is.
func (d *transferDisplay) line(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.show.clear()
	_, _ = fmt.Fprintln(d.out, text) // nobody is left to be told
}

func (d *transferDisplay) problem(p transfer.Problem) { d.line(p.Error()) }

// err is not nil if something was not copied.
func (d *transferDisplay) err() error {
	switch n := d.progress.Problems.Load(); n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 image was not taken as a whole: see above")
	default:
		return fmt.Errorf("%d images were not taken as a whole: see above", n)
	}
}

// summary says what was done, or would be.
func (d *transferDisplay) summary(out io.Writer, dryRun bool) error {
	p := &d.progress
	var b strings.Builder
	verb := "taken"
	if dryRun {
		verb = "would be taken"
	}
	fmt.Fprintf(&b, "%s: %d manifests and %d tags of %d repositories; %d blobs with %s", verb, p.Manifests.Load(), p.Tags.Load(),
		p.Repositories.Total.Load(), p.Blobs.Load(), bytesText(p.Bytes.Load()))
	if n := p.BlobsLinked.Load(); n > 0 {
		fmt.Fprintf(&b, ", %d linked with %s", n, bytesText(p.BytesLinked.Load()))
	}
	if n := p.BlobsMounted.Load(); n > 0 {
		fmt.Fprintf(&b, ", %d from another repository here", n)
	}
	fmt.Fprintf(&b, "\nthere already: %d manifests, %d tags, %d blobs\n", p.ManifestsThere.Load(), p.TagsThere.Load(), p.BlobsThere.Load())
	if n := p.TagsKept.Load(); n > 0 {
		fmt.Fprintf(&b, "left alone: %d tags that name something else here\n", n)
	}
	if p.BlobsLinked.Load() > 0 {
		b.WriteString("the node hashes what was linked now; what is bad its log names, and 'zot cluster status' counts it as damaged\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
