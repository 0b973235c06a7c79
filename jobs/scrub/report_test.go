package scrub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/scrub"
)

// reported are the images of the store, as "name:tag", those that are affected with why.
func reported(w *world, bad scrub.Bad) (all []string) {
	w.t.Helper()
	none := func(context.Context, int) error { return nil }
	err := scrub.Images(w.t.Context(), w.state, fsm.DefaultStore, bad, none, func(i scrub.Image) error {
		line := i.Name + ":" + i.Tag
		if i.Error != "" {
			line += " " + i.Error
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// imageWorld has images that share blobs.
func imageWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 1, 1)
	for _, repository := range []string{"a", "a/b", "z"} {
		for _, text := range []string{"base", "top", "other", "alone"} {
			w.pushTo(repository, text, 1)
		}
	}
	for _, repository := range []string{"a", "a/b"} {
		w.image(repository, "amd64", "v1", []string{"base", "top"}, nil)
		w.image(repository, "arm64", "", []string{"base", "other"}, nil)
		w.image(repository, "both", "latest", nil, []string{"amd64", "arm64"})
		w.image(repository, "index of indexes", "deep", nil, []string{"both"})
		w.image(repository, "apart", "v0", []string{"other"}, nil)
		w.image(repository, "untagged", "", []string{"alone"}, nil)
	}
	w.image("z", "amd64", "v1", []string{"base", "top"}, nil)
	apply(w, fsm.SetStore{Name: "another", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	apply(w, fsm.BlobStored{
		Repository: "other", Store: "another", Digest: packed("base"), Size: 4, Stamp: w.state.Position().Time,
		Locations: []fsm.Location{w.write("base", 1)},
	})
	apply(w, fsm.PutManifest{
		Repository: "other", Store: "another", Digest: packed("it"), Size: 2, Body: []byte("it"), MediaType: "any/thing",
		Blobs: []fsm.Digest{packed("base")}, Tags: []fsm.TagMove{{Tag: "v1"}},
	})
	return w
}

func TestImages(t *testing.T) {
	t.Parallel()
	untagged := packed("untagged").String()
	blob := func(text, why string) string { return "blob " + packed(text).String() + ": " + why }
	for name, test := range map[string]struct {
		bad  scrub.Bad
		want map[string]string // of repository a and a/b, the others are good
		z    string
	}{
		"nothing bad":             {nil, nil, ""},
		"a layer of one image":    {scrub.Bad{packed("top"): "rot"}, map[string]string{"v1": blob("top", "rot"), "latest": blob("top", "rot"), "deep": blob("top", "rot")}, blob("top", "rot")},
		"of an image without tag": {scrub.Bad{packed("alone"): "rot"}, map[string]string{untagged: blob("alone", "rot")}, ""},
		"two layers": {scrub.Bad{packed("other"): "rot", packed("alone"): "gone"}, map[string]string{
			"v0": blob("other", "rot"), "latest": blob("other", "rot"), "deep": blob("other", "rot"), untagged: blob("alone", "gone"),
		}, ""},
		"what nobody needs": {scrub.Bad{packed("never seen"): "rot"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for _, repository := range []string{"a", "a/b"} {
				for _, tag := range []string{"deep", "latest", "v0", "v1", untagged} {
					want = append(want, strings.TrimSpace(repository+":"+tag+" "+test.want[tag]))
				}
			}
			want = append(want, strings.TrimSpace("z:v1 "+test.z))
			if got := reported(imageWorld(t), test.bad); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// A blob of which no good copy is left anywhere is everybody's to report, whoever found it.
func TestImagesWithDamagedBlobs(t *testing.T) {
	t.Parallel()
	w := imageWorld(t)
	w.nodes[1].rot("top")
	w.nodes[1].suspect("top")
	got := strings.Join(reported(w, nil), "\n")
	if strings.Count(got, "no good copy of it is left") != 7 || !strings.Contains(got, "z:v1 blob "+packed("top").String()) {
		t.Errorf("got\n%s", got)
	}
}

// Of a repository that is moved to another store, what is still here and bad is reported here.
func TestImagesOfARepositoryThatMoves(t *testing.T) {
	t.Parallel()
	w := imageWorld(t)
	apply(w, fsm.MoveRepository{Repository: "z", To: "another"})
	apply(w, fsm.MoveRepository{Repository: "a/b", To: "another"})
	var got []string
	for _, line := range reported(w, scrub.Bad{packed("top"): "rot"}) {
		if !strings.HasPrefix(line, "a:") {
			name, _, _ := strings.Cut(line, " ")
			got = append(got, name)
		}
	}
	if want := []string{"a/b:deep", "a/b:latest", "a/b:v1", "z:v1"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// There may be more of everything than a view looks at.
func TestManyImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	for r := range 250 {
		w.pushTo(fmt.Sprintf("team/%03d", r), "base", 1)
	}
	for i := range 225 {
		w.image("team/007", fmt.Sprint("image ", i), fmt.Sprint("v", i), []string{"base"}, nil)
		w.image("team/007", fmt.Sprint("untagged ", i), "", []string{"base"}, nil)
	}
	for r := range 250 {
		w.image(fmt.Sprintf("team/%03d", r), "image 0", "first", []string{"base"}, nil)
	}
	got := reported(w, scrub.Bad{packed("base"): "rot"})
	slices.Sort(got)
	affected := strings.Count(strings.Join(got, "\n"), "rot")
	if n := len(slices.Compact(got)); n != 700 || affected != n {
		t.Errorf("%d images, %d affected", n, affected)
	}
}

func TestImagesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	w := imageWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := scrub.Images(ctx, w.state, fsm.DefaultStore, nil, func(ctx context.Context, _ int) error { return ctx.Err() }, func(scrub.Image) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A pass says how each image is, in zot's words.
func TestPassReports(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		n := w.nodes[1]
		w.push("good", 1, 2)
		w.push("bad", 1, 2)
		w.image(repository, "first", "v1", []string{"good"}, nil)
		w.image(repository, "second", "v2", []string{"good", "bad"}, nil)
		n.rot("bad")
		n.do(n.pass)
		if !n.has("INFO", "image=a/b tag=v1 status=ok") ||
			!n.has("WARN", "image=a/b tag=v2 status=affected", packed("bad").String(), "the copy of this node") ||
			!n.has("scrub ended", "affected_images=1") {
			t.Errorf("said %s", n.said.String())
		}
		n.do(n.settle)
		n.said.Reset()
		time.Sleep(day)
		n.do(n.pass) // its copy is elsewhere now
		if n.has("status=affected") || n.count("status=ok") != 2 {
			t.Errorf("said %s", n.said.String())
		}
	})
}

// What readers came upon since the last report is in the next, also after a restart.
func TestPassReportsWhatReadersFound(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		n := w.nodes[1]
		pushed(w, 10)
		for _, text := range []string{"before", "between", "meanwhile"} {
			w.push(text, 1, 2)
			w.image(repository, "image of "+text, text, []string{text}, nil)
		}
		found := func(text string) {
			n.rot(text)
			n.suspect(text)
		}
		found("before")
		time.Sleep(time.Hour)
		n.do(n.pass)
		time.Sleep(day / 20)
		found("between")
		time.Sleep(day)
		ctx, cancel := context.WithCancel(t.Context())
		n.verifying = func(blobstore.Blob) error {
			n.verifying = nil
			found("meanwhile")
			cancel()
			return nil
		}
		if err := n.pass.Do(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		n.restart()
		n.do(n.pass)
		for text, lines := range map[string]string{"before": "affected_images=1", "between": "affected_images=2", "meanwhile": "affected_images=2"} {
			if n.count("image=a/b tag="+text+" status=affected") != 1 || !n.has("scrub ended", lines) {
				t.Errorf("%s: said %s", text, n.said.String())
			}
		}
		n.restart()
		n.said.Reset()
		time.Sleep(day / 10)
		n.do(n.pass)
		if n.has("status=affected") || !n.has("scrub ended") {
			t.Errorf("again: said %s", n.said.String())
		}
	})
}

// What readers come upon while a report is made is in the next, once.
func TestPassReportsWhatIsFoundDuringAReport(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		n := w.nodes[1]
		for in, text := range map[string]string{"first": "first", "later": "late"} { // before each there is a pause
			w.pushTo(in, text, 1, 2)
			w.image(in, "image of "+text, text, []string{text}, nil)
		}
		late := false
		n.pace = func(context.Context, int) error {
			if !late && n.has("status=ok") {
				late = true
				n.rot("late")
				n.suspect("late") //nolint:contextcheck // that of the test
				time.Sleep(time.Second)
			}
			return nil
		}
		n.restart()
		for _, wanted := range []int{0, 1, 1} {
			n.do(n.pass)
			if have := n.count("image=later tag=late status=affected"); have != wanted || !late {
				t.Errorf("%d times, want %d; found %t; said %s", have, wanted, late, n.said.String())
			}
			time.Sleep(day)
		}
	})
}
