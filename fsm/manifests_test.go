package fsm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// put is the PutManifest of a manifest with this text.
func put(repository, text string, blobs ...string) fsm.PutManifest {
	c := fsm.PutManifest{
		Repository: repository, Store: "default", Digest: dig(text), Size: int64(len(text)),
		MediaType: "application/vnd.oci.image.manifest.v1+json", Body: []byte(text),
	}
	for _, b := range blobs {
		c.Blobs = append(c.Blobs, dig(b))
	}
	return c
}

// tagged is c with tags, on no condition.
func tagged(c fsm.PutManifest, tags ...string) fsm.PutManifest {
	for _, tag := range tags {
		c.Tags = append(c.Tags, fsm.TagMove{Tag: tag})
	}
	return c
}

// ofTag is the reference of a tag.
func ofTag(tag string) oci.Reference { return oci.Reference{Tag: tag} }

// expectTag compares what a tag names; "" if it must not exist.
func (r *replica) expectTag(repository, tag, text string) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		m, err := v.Resolve(repository, ofTag(tag))
		switch {
		case text == "" && err == nil:
			r.t.Errorf("%s:%s is %s", repository, tag, m.Digest)
		case text != "" && (err != nil || m.Digest != dig(text)):
			r.t.Errorf("%s:%s is %s, %v", repository, tag, m.Digest, err)
		}
	})
}

func TestManifestEncodings(t *testing.T) {
	golden(t, fsm.PutManifest{
		Repository: "a/b", Store: "default", Digest: dig("body"), Size: 4, MediaType: "m", Body: []byte("body"),
		Blobs: []fsm.Digest{dig("x")}, Optional: []fsm.Digest{dig("y")}, Manifests: []fsm.Digest{dig("z")},
		Subject: dig("s"), ArtifactType: "t", Annotations: map[string]string{"k": "v", "a": "b"}, InBody: true,
		Tags: []fsm.TagMove{
			{Tag: "1"},
			{Tag: "2", If: fsm.TagCondition{Absent: true}},
			{Tag: "3", If: fsm.TagCondition{Is: dig("x")}},
		},
	})
	golden(t, fsm.DeleteManifest{Repository: "a", Digest: dig("x"), AtMostOneTag: true, UnneededAt: 1000})
	golden(t, fsm.DeleteTag{Repository: "a", Tag: "1", If: fsm.TagCondition{Is: dig("x")}, UnneededAt: 1000, Subject: []byte(dig("y"))[:20]})
	golden(t, fsm.RestoreTag{Repository: "a", Tag: "1", Digest: dig("x"), If: fsm.TagCondition{Absent: true}})
	golden(t, fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: "a", Digest: dig("x"), Count: 3}}})
	golden(t, fsm.CollectRepositories{Repositories: []string{"a", "b"}})
}

func TestPutManifest(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	refused(r, fsm.ErrManifestBlobUnknown, put("a", "m", "x", "y"))
	refused(r, fsm.ErrManifestBlobUnknown, put("b", "m", "x"))
	c := tagged(put("a", "m", "x", "x"), "1", "2")
	if !do(r, c).Created || do(r, c).Created {
		t.Error("created once")
	}
	r.expectTag("a", "1", "m")
	r.expectTag("a", "2", "m")
	if l, err := r.link("a", "x"); err != nil || l.References != 1 || l.Renew {
		t.Errorf("link %+v, %v", l, err)
	}
	r.wait(2 * time.Hour)
	refused(r, fsm.ErrBlobReferenced, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, put("a", "n", "x"))
	r.view(func(v fsm.View) {
		if body := v.Body("a", dig("m")); string(body) != "m" {
			t.Errorf("body %q", body)
		}
		if all := v.NamedBy("a", dig("x"), "", 10); len(all) != 2 {
			t.Errorf("x is named by %v", all)
		}
		if all := v.Catalog("", 10); !slices.Equal(all, []string{"a"}) {
			t.Errorf("catalog %v", all)
		}
		if _, err := v.Resolve("b", ofTag("1")); err == nil || !strings.HasPrefix(err.Error(), fsm.ErrRepositoryUnknown.Code) {
			t.Errorf("in a repository that does not exist: %v", err)
		}
		if m, err := v.Resolve("a", oci.Reference{Digest: digest.FromString("n")}); err != nil || m.Digest != dig("n") {
			t.Errorf("by digest: %+v, %v", m, err)
		}
	})
	do(r, put("b", "no references"))
	r.sound()
}

// TestPutManifestOfALargeBody counts the body, which is a blob, like what the manifest names.
func TestPutManifestOfALargeBody(t *testing.T) {
	r := newCluster(t, 2)
	c := put("a", "large")
	c.Body = nil
	refused(r, fsm.ErrManifestBlobUnknown, c)
	do(r, r.upload("a", "large", loc(1, 1), loc(2, 2)))
	do(r, c)
	refused(r, fsm.ErrBlobReferenced, fsm.DeleteBlob{Repository: "a", Digest: dig("large")})
	index := put("a", "index")
	index.Manifests = []fsm.Digest{dig("large")}
	do(r, index)
	if l, err := r.link("a", "large"); err != nil || l.References != 1 {
		t.Errorf("link %+v, %v", l, err)
	}
	r.sound()
}

func TestPutManifestOfAnIndex(t *testing.T) {
	r := newCluster(t, 2)
	index := put("a", "index")
	index.Manifests = []fsm.Digest{dig("m"), dig("n"), dig("m")}
	do(r, put("a", "m"))
	refused(r, fsm.ErrManifestBlobUnknown, index)
	do(r, put("a", "n"))
	do(r, index)
	refused(r, fsm.ErrManifestReferenced, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	r.view(func(v fsm.View) {
		if all := v.ListedBy("a", dig("m"), "", 10); !slices.Equal(all, []fsm.Digest{dig("index")}) {
			t.Errorf("m is listed by %v", all)
		}
	})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("index")})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	r.sound()
}

func TestPutManifestWithWhatMayBeAbsent(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	c := put("a", "m")
	c.Optional = []fsm.Digest{dig("x"), dig("absent")}
	do(r, c)
	refused(r, fsm.ErrBlobReferenced, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	r.sound()
}

func TestPutManifestOfADamagedBlob(t *testing.T) {
	r := newCluster(t, 1)
	do(r, r.upload("a", "x", loc(1, 1)))
	do(r, put("a", "m", "x"))
	do(r, fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: loc(1, 1)})
	refused(r, fsm.ErrManifestBlobUnknown, put("a", "n", "x"))
	refused(r, fsm.ErrManifestBlobUnknown, put("a", "m", "x"))
	r.view(func(v fsm.View) {
		if _, there := v.Manifest("a", dig("m")); !there {
			t.Error("a manifest vanished with its blob")
		}
	})
	r.sound()
}

func TestTagConditions(t *testing.T) {
	r := newCluster(t, 1)
	do(r, tagged(put("a", "m"), "1"))
	on := func(c fsm.PutManifest, tag string, condition fsm.TagCondition) fsm.PutManifest {
		c.Tags = append(slices.Clone(c.Tags), fsm.TagMove{Tag: tag, If: condition})
		return c
	}
	absent := fsm.TagCondition{Absent: true}
	refused(r, fsm.ErrTagCondition, on(tagged(put("a", "n"), "2"), "1", absent))
	r.expectTag("a", "2", "")
	r.view(func(v fsm.View) {
		if _, there := v.Manifest("a", dig("n")); there {
			t.Error("a manifest came without its tags")
		}
	})
	do(r, on(put("a", "m"), "1", absent)) // nothing would move
	do(r, on(put("a", "n"), "2", absent))
	refused(r, fsm.ErrTagCondition, on(put("a", "n"), "1", fsm.TagCondition{Is: dig("n")}))
	refused(r, fsm.ErrTagCondition, on(put("a", "n"), "3", fsm.TagCondition{Is: dig("n")}))
	do(r, on(put("a", "n"), "1", fsm.TagCondition{Is: dig("m")}))
	r.expectTag("a", "1", "n")
	refused(r, fsm.ErrTagCondition, fsm.DeleteTag{Repository: "a", Tag: "1", If: fsm.TagCondition{Is: dig("m")}})
	do(r, fsm.DeleteTag{Repository: "a", Tag: "1", If: fsm.TagCondition{Is: dig("n")}})
	refused(r, fsm.ErrTagUnknown, fsm.DeleteTag{Repository: "a", Tag: "1"})
	r.sound()
}

func TestDeleteManifest(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	refused(r, fsm.ErrManifestUnknown, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	do(r, tagged(put("a", "m", "x"), "1", "2"))
	do(r, tagged(put("a", "n", "x"), "3"))
	do(r, fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: "a", Digest: dig("m"), Count: 2}, {Repository: "a", Digest: dig("z"), Count: 1}}})
	refused(r, fsm.ErrManyTags, fsm.DeleteManifest{Repository: "a", Digest: dig("m"), AtMostOneTag: true})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("n"), AtMostOneTag: true})
	r.wait(2 * time.Hour)
	r.view(func(v fsm.View) {
		if count, newest := v.Pulls("a", dig("m")); count != 2 || newest == 0 {
			t.Errorf("%d pulls, newest %d", count, newest)
		}
	})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	if l, err := r.link("a", "x"); err != nil || l.References != 0 || l.Left != time.Hour {
		t.Errorf("the lease did not start anew: %+v, %v", l, err)
	}
	for _, tag := range []string{"1", "2", "3"} {
		r.expectTag("a", tag, "")
	}
	r.view(func(v fsm.View) {
		if all := v.Catalog("", 10); len(all) != 0 {
			t.Errorf("catalog %v", all)
		}
		if repo, err := v.Repository("a"); err != nil || repo.Manifests != 0 {
			t.Errorf("%+v, %v", repo, err)
		}
		if count, _ := v.Pulls("a", dig("m")); count != 0 {
			t.Errorf("%d pulls", count)
		}
	})
	r.sound()
}

func TestDeleteManifestWithTooManyTags(t *testing.T) {
	r := newCluster(t, 1)
	for i := range 1001 {
		do(r, tagged(put("a", "m"), fmt.Sprint(i)))
	}
	refused(r, fsm.ErrTooManyTags, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	do(r, fsm.DeleteTag{Repository: "a", Tag: "7"})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	r.view(func(v fsm.View) {
		if n := len(v.DeletedTags("a")); n != 200 {
			t.Errorf("%d deleted tags are remembered", n)
		}
	})
	r.sound()
	if done := do(r, fsm.CollectRepositories{Repositories: []string{"a"}}); done.Repositories != 1 {
		t.Error("the repository stays")
	}
	r.sound()
}

// TestDeleteUnneeded deletes what somebody saw to be of no use, unless it came to be of use after that.
func TestDeleteUnneeded(t *testing.T) {
	signature := put("a", "signature")
	signature.Subject = dig("subject")
	index := put("a", "index")
	index.Manifests = []fsm.Digest{dig("m")}
	pulled := fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: "a", Digest: dig("m"), Count: 1}}}
	subject := dig("subject")
	for name, test := range map[string]struct {
		before, after []fsm.Command
		manifest      string
		tag           fsm.DeleteTag // if it is no manifest
		refusal       error
	}{
		"a manifest, and nothing happens": {
			before:   []fsm.Command{put("a", "m"), pulled},
			manifest: "m",
		},
		"a manifest that is tagged": {
			before:   []fsm.Command{put("a", "m")},
			after:    []fsm.Command{tagged(put("a", "m"), "1")},
			manifest: "m",
			refusal:  fsm.ErrNeeded,
		},
		"a manifest that is tagged already": {
			before:   []fsm.Command{tagged(put("a", "m"), "1")},
			manifest: "m",
			refusal:  fsm.ErrNeeded,
		},
		"a manifest that is pushed again": {
			before:   []fsm.Command{put("a", "m")},
			after:    []fsm.Command{put("a", "m")},
			manifest: "m",
			refusal:  fsm.ErrNeeded,
		},
		"a manifest whose tag is restored and deleted": {
			before: []fsm.Command{tagged(put("a", "m"), "1"), fsm.DeleteTag{Repository: "a", Tag: "1"}},
			after: []fsm.Command{
				fsm.RestoreTag{Repository: "a", Tag: "1", Digest: dig("m")}, fsm.DeleteTag{Repository: "a", Tag: "1"},
			},
			manifest: "m",
			refusal:  fsm.ErrNeeded,
		},
		"a manifest that is pulled": {
			before:   []fsm.Command{put("a", "m")},
			after:    []fsm.Command{pulled},
			manifest: "m",
			refusal:  fsm.ErrNeeded,
		},
		"a manifest that is listed": {
			before:   []fsm.Command{put("a", "m")},
			after:    []fsm.Command{index},
			manifest: "m",
			refusal:  fsm.ErrManifestReferenced,
		},
		"a manifest whose subject is not there": {
			before:   []fsm.Command{signature},
			manifest: "signature",
		},
		"a manifest whose subject comes": {
			before:   []fsm.Command{signature},
			after:    []fsm.Command{put("a", "subject")},
			manifest: "signature",
			refusal:  fsm.ErrNeeded,
		},
		"a tag, and nothing happens": {
			before: []fsm.Command{tagged(put("a", "m"), "1"), pulled},
			after:  []fsm.Command{tagged(put("a", "m"), "2"), put("b", "subject")},
			tag:    fsm.DeleteTag{Repository: "a", Tag: "1", Subject: []byte(subject)},
		},
		"a tag that is pushed again": {
			before:  []fsm.Command{tagged(put("a", "m"), "1")},
			after:   []fsm.Command{tagged(put("a", "m"), "1")},
			tag:     fsm.DeleteTag{Repository: "a", Tag: "1"},
			refusal: fsm.ErrNeeded,
		},
		"a tag that is moved and comes back": {
			before:  []fsm.Command{tagged(put("a", "m"), "1")},
			after:   []fsm.Command{tagged(put("a", "n"), "1"), fsm.RestoreTag{Repository: "a", Tag: "1", Digest: dig("m")}},
			tag:     fsm.DeleteTag{Repository: "a", Tag: "1", If: fsm.TagCondition{Is: dig("m")}},
			refusal: fsm.ErrNeeded,
		},
		"a tag that is pulled": {
			before:  []fsm.Command{tagged(put("a", "m"), "1")},
			after:   []fsm.Command{pulled},
			tag:     fsm.DeleteTag{Repository: "a", Tag: "1"},
			refusal: fsm.ErrNeeded,
		},
		"a tag whose subject comes": {
			before:  []fsm.Command{tagged(put("a", "m"), "1")},
			after:   []fsm.Command{put("a", "subject")},
			tag:     fsm.DeleteTag{Repository: "a", Tag: "1", Subject: []byte(subject)[:20]},
			refusal: fsm.ErrNeeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCluster(t, 1)
			doAll(r, test.before)
			test.tag.UnneededAt = r.index
			cmd := fsm.Command(test.tag)
			if test.manifest != "" {
				cmd = fsm.DeleteManifest{Repository: "a", Digest: dig(test.manifest), UnneededAt: r.index}
			}
			if len(test.after) > 0 {
				doAll(r, test.after)
			}
			before := r.content()
			result, err := r.Propose(t.Context(), payloadOf(t, cmd))
			if err == nil {
				err = r.Explain(result)
			}
			if !errors.Is(err, test.refusal) {
				t.Errorf("%v, want %v", err, test.refusal)
			}
			if gone := r.content() != before; gone == (test.refusal != nil) {
				t.Errorf("something changed: %t", gone)
			}
			r.sound()
		})
	}
}

// content is what is in repository a.
func (r *replica) content() (text string) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		text = fmt.Sprintf("%+v %+v %q", v.Tags("a", "", 100), v.Manifests("a", "", 100), v.DeletedTags("a"))
	})
	return text
}

// TestPushAgain makes a tag and its manifest new, and is no change of what the tag names.
func TestPushAgain(t *testing.T) {
	r := newCluster(t, 1)
	expect := func(named, pushed time.Time) {
		t.Helper()
		r.view(func(v fsm.View) {
			tag, _ := v.Tag("a", "1")
			m, _ := v.Manifest("a", dig("m"))
			if tag.NamedAt != named.UnixMilli() || tag.PushedAt != pushed.UnixMilli() || m.PushedAt != pushed.UnixMilli() {
				t.Errorf("%+v, %+v, want pushed %s, named %s", tag, m, pushed, named)
			}
		})
	}
	do(r, tagged(put("a", "m"), "1"))
	first := r.date
	expect(first, first)
	r.date = r.date.Add(time.Hour)
	push := r.next(payloadOf(t, tagged(put("a", "m"), "1")))
	second := r.date
	r.apply(push)
	expect(first, second)

	r.date = r.date.Add(time.Hour) // a retry is no push
	retry := r.next(push.Payload)
	retry.Envelope.Request = push.Envelope.Request
	r.apply(retry)
	expect(first, second)

	r.date = first.Add(-time.Hour) // by a clock that is wrong
	do(r, tagged(put("a", "m"), "1"))
	expect(first, second)

	r.date = second.Add(time.Hour)
	do(r, tagged(put("a", "n"), "1"))
	r.view(func(v fsm.View) {
		h := v.TagHistory("a", "1").Entries
		if want := (fsm.TagHistoryEntry{Digest: dig("m"), NamedAt: first.UnixMilli(), Until: r.date.UnixMilli()}); len(h) != 1 || h[0] != want {
			t.Errorf("history %+v, want %+v", h, want)
		}
		if m, _ := v.Manifest("a", dig("m")); m.UntaggedAt != r.date.UnixMilli() {
			t.Errorf("untagged at %d, want %d", m.UntaggedAt, r.date.UnixMilli())
		}
	})
	r.sound()
}

func TestRestoreTag(t *testing.T) {
	r := newCluster(t, 1)
	do(r, tagged(put("a", "m"), "1"))
	restore := fsm.RestoreTag{Repository: "a", Tag: "1", Digest: dig("m")}
	refused(r, fsm.ErrTagUnknown, restore)
	do(r, tagged(put("a", "n"), "1"))
	do(r, restore)
	r.expectTag("a", "1", "m")
	do(r, fsm.DeleteTag{Repository: "a", Tag: "1"})
	r.view(func(v fsm.View) {
		h := v.TagHistory("a", "1")
		if !h.Deleted || len(h.Entries) != 3 || h.Entries[1].Digest != dig("n") || h.Entries[1].Until <= h.Entries[1].NamedAt {
			t.Errorf("history %+v", h)
		}
	})
	restore.If = fsm.TagCondition{Is: dig("m")}
	refused(r, fsm.ErrTagCondition, restore)
	restore.If = fsm.TagCondition{Absent: true}
	do(r, restore)
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	refused(r, fsm.ErrManifestUnknown, restore)
	r.view(func(v fsm.View) {
		if all := v.DeletedTags("a"); !slices.Equal(all, []string{"1"}) {
			t.Errorf("deleted tags %v", all)
		}
	})
	r.sound()
}

func TestReferrers(t *testing.T) {
	r := newCluster(t, 1)
	for i, kind := range []string{"b", "a", "b", "a/x"} {
		c := put("a", fmt.Sprint(i))
		c.Subject, c.ArtifactType, c.Annotations = dig("subject"), kind, map[string]string{"n": fmt.Sprint(i)}
		do(r, c)
	}
	r.view(func(v fsm.View) {
		var all []fsm.Referrer
		for {
			var last fsm.Referrer
			if len(all) > 0 {
				last = all[len(all)-1]
			}
			page := v.Referrers("a", dig("subject"), "", last, 1)
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
		}
		if len(all) != 4 || all[0].ArtifactType != "a" || all[1].ArtifactType != "a/x" || all[0].Annotations["n"] != "1" {
			t.Errorf("referrers %+v", all)
		}
		if some := v.Referrers("a", dig("subject"), "b", fsm.Referrer{}, 10); len(some) != 2 {
			t.Errorf("of one type %+v", some)
		}
		if none := v.Referrers("b", dig("subject"), "", fsm.Referrer{}, 10); len(none) != 0 {
			t.Errorf("elsewhere %+v", none)
		}
	})
	r.sound()
}

// TestNamesThatArePrefixes lists repositories and tags whose names begin alike (issues of other registries
// come from listings in which one hides the other).
func TestNamesThatArePrefixes(t *testing.T) {
	r := newCluster(t, 1)
	names := []string{"app", "app-1", "app.x", "app/x", "app0"}
	for _, name := range names {
		do(r, tagged(put(name, "m"), "v1", "v1-a", "v1.0", "v10"))
	}
	r.view(func(v fsm.View) {
		var all []string
		for page := v.Catalog("", 2); len(page) > 0; page = v.Catalog(all[len(all)-1], 2) {
			all = append(all, page...)
		}
		if !slices.Equal(all, names) {
			t.Errorf("catalog %v", all)
		}
		for _, name := range names {
			var tags []string
			for page := v.Tags(name, "", 3); len(page) > 0; page = v.Tags(name, tags[len(tags)-1], 3) {
				for _, tag := range page {
					tags = append(tags, tag.Name)
				}
			}
			if !slices.Equal(tags, []string{"v1", "v1-a", "v1.0", "v10"}) {
				t.Errorf("tags of %s: %v", name, tags)
			}
			if of := v.TagsOf(name, dig("m"), "v1-a", 10); !slices.Equal(of, []string{"v1.0", "v10"}) {
				t.Errorf("tags of m in %s: %v", name, of)
			}
		}
	})
	do(r, fsm.DeleteManifest{Repository: "app", Digest: dig("m")})
	r.expectTag("app-1", "v1", "m")
	r.sound()
}

func TestPutManifestCheck(t *testing.T) {
	for name, spoil := range map[string]func(c *fsm.PutManifest){
		"body of another digest": func(c *fsm.PutManifest) { c.Digest = dig("other") },
		"size of another body":   func(c *fsm.PutManifest) { c.Size++ },
		"no digest":              func(c *fsm.PutManifest) { c.Digest = "" },
		"no store":               func(c *fsm.PutManifest) { c.Store = "" },
		"name":                   func(c *fsm.PutManifest) { c.Repository = "A" },
		"tag":                    func(c *fsm.PutManifest) { c.Tags = []fsm.TagMove{{Tag: "-"}} },
		"empty reference":        func(c *fsm.PutManifest) { c.Blobs = []fsm.Digest{""} },
		"references":             func(c *fsm.PutManifest) { c.Blobs = slices.Repeat([]fsm.Digest{dig("x")}, 4097) },
		"annotations":            func(c *fsm.PutManifest) { c.Annotations = map[string]string{"k": strings.Repeat("v", 16<<10)} },
		"artifact type":          func(c *fsm.PutManifest) { c.ArtifactType = "a\x00b" },
		"large body":             func(c *fsm.PutManifest) { c.Body = make([]byte, 48<<10+1); c.Size = 48<<10 + 1 },
	} {
		c := put("a", "m")
		spoil(&c)
		if _, err := fsm.Encode(c); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}
