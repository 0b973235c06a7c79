package retention_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/retention"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTagsThatNoRuleKeepsAreRemoved(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for n := range 5 {
			w.push("a/b", numbered(n), numbered(n))
			w.pass(time.Minute)
		}
		w.push("a/b-1", "other", "one", "two", "three")
		w.walk()
		w.expectTags("a/b", "v0003", "v0004")
		w.expectTags("a/b-1", "one", "three")
		w.expect("a/b", "v0000", true) // the manifest stays: the tag may be brought back
		w.expectSaid("tag removed", 4)
		w.expectSaid("repositories=2 tags_removed=4 manifests_removed=0", 1)
		w.expectSaid("tag removed: tag=v0000 store=default repository=a/b digest="+packed("v0000").String()+
			` pushed=2000-01-01T00:01:00Z pulled=never reason="no rule of keepTags[0] is met"`, 1)
	}, newest(2))
}

// Pulls count for all tags of a manifest, and are those of one repository.
func TestPulledTagsStay(t *testing.T) {
	t.Parallel()
	within := time.Hour
	inWorld(t, func(w *world) {
		w.push("a", "one", "1", "one")
		w.push("a", "two", "2")
		w.push("b", "one", "1")
		w.pass(3 * time.Hour)
		apply(w, fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: "a", Digest: packed("one"), Count: 1}}})
		w.run()
		w.expectTags("a", "1", "one")
		w.expectTags("b")
	}, everywhere(retention.Policy{KeepTags: []retention.KeepTags{{Rules: retention.Rules{PulledWithin: &within}}}}))
}

func TestUntaggedManifestsAreRemoved(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.push("a", "tagged", "1")
		w.push("a", "untagged")
		child := w.push("a", "child")
		w.put(index("a", "index", child), "2")
		w.put(about("signature", packed("tagged")))
		w.put(about("orphan", packed("never was")))
		w.put(about("of orphan", packed("orphan")))
		w.pass(delay - 2*time.Minute)
		w.run()
		w.expect("a", "untagged", true) // younger than the delay
		w.walk()
		for text, want := range map[string]bool{
			"tagged": true, "untagged": false, "child": true, "index": true, "signature": true, "orphan": false, "of orphan": true,
		} {
			w.expect("a", text, want)
		}
		w.expectSaid("manifest removed", 2)
		w.expectSaid(`reason="no tag names it"`, 1)
		w.expectSaid(`reason="its subject is not there"`, 1)
		w.walk()
		w.expect("a", "of orphan", false)

		apply(w, fsm.DeleteTag{Repository: "a", Tag: "2"})
		apply(w, fsm.DeleteTag{Repository: "a", Tag: "1"})
		w.walk()
		w.expect("a", "tagged", true) // untagged for less than the delay, although it is old
		w.pass(delay)
		w.run()
		for _, text := range []string{"index", "tagged"} {
			w.expect("a", text, false)
		}
		w.walk()
		for _, text := range []string{"child", "signature"} {
			w.expect("a", text, false)
		}
	}, untagged())
}

// Also a manifest that a tag ceased to name because it was moved, or that had a tag which came back, waits.
func TestMovedTagsCountAsUntaggingWhatTheyNamed(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.push("a", "one", "1")
		w.pass(10 * delay)
		w.push("a", "two", "1")
		w.walk()
		w.expect("a", "one", true)
		w.pass(delay)
		w.run()
		w.expect("a", "one", false)
	}, untagged())
}

// Signatures by tag stay with what they sign, go after it, and no keepTags are for them.
func TestSignaturesByTag(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		signed := w.push("a", "signed", "v1")
		long := manifest("a", "long")
		var err error
		if long.Digest, err = fsm.Pack(digest.SHA512.FromString("long")); err != nil {
			w.t.Fatal(err)
		}
		w.put(long, "v2")
		encoded := signed.Unpack().Encoded()
		kept := []string{
			"v1", "v2", "sha256-" + encoded + ".sig", "sha256-" + encoded + ".att", "sha256-" + encoded,
			"sha512-" + long.Digest.Unpack().Encoded()[:64],
		}
		lost := "sha256-" + strings.Repeat("0", 64) + ".sig"
		short := "sha512-" + strings.Repeat("0", 64)
		w.push("a", "signature", append(kept[2:], "sha256-abc", "sha384-"+encoded, lost, short)...)
		w.walk()
		w.expectTags("a", append(kept, lost, short)...) // may still be pushed
		w.pass(delay)
		w.run()
		w.expectTags("a", kept...)
	}, everywhere(retention.Policy{DeleteReferrers: true, KeepTags: []retention.KeepTags{{Patterns: []string{"^v"}}}}))
}

// What follows a look at the state and comes before the command wins.
func TestPushInBetweenWins(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command string
		happens func(w *world)
		expect  func(w *world)
	}{
		"a tag is moved": {
			"delete-tag",
			func(w *world) { w.push("a", "new", "old") },
			func(w *world) { w.expectTags("a", "newest", "old") },
		},
		"a tag is deleted": {
			"delete-tag",
			func(w *world) { apply(w, fsm.DeleteTag{Repository: "a", Tag: "old"}) },
			func(w *world) { w.expectTags("a", "newest") },
		},
		"a manifest gets a tag": {
			"delete-manifest",
			func(w *world) { w.push("a", "untagged", "t") },
			func(w *world) { w.expectTags("a", "newest", "t"); w.expect("a", "untagged", true) },
		},
		"a manifest gets many tags": {
			"delete-manifest",
			func(w *world) { w.push("a", "untagged", "t", "u") },
			func(w *world) { w.expectTags("a", "newest", "t", "u"); w.expectNeverGone("t", "u") },
		},
		"the next manifest gets a tag": {
			"delete-manifest",
			func(w *world) {
				w.push("a", "untagged", "t")
			},
			func(w *world) { w.expectTags("a", "newest", "t"); w.expectNeverGone("t"); w.expect("a", "x", false) },
		},
		"a manifest gets a tag, as others go": {
			"delete-manifest",
			func(w *world) {
				w.push("a", "untagged", "t")
				for n := range 5 {
					w.push("a", "other", numbered(n))
					w.proposed = func([]byte) error { w.proposed = nil; return nil }
					apply(w, fsm.DeleteTag{Repository: "a", Tag: numbered(n)})
				}
			},
			func(w *world) { w.expectTags("a", "newest", "t"); w.expect("a", "untagged", true) },
		},
		"a manifest is listed": {
			"delete-manifest",
			func(w *world) { w.put(index("a", "index", packed("untagged")), "i") },
			func(w *world) { w.expectTags("a", "i", "newest"); w.expect("a", "untagged", true) },
		},
		"a manifest is deleted": {
			"delete-manifest",
			func(w *world) { apply(w, fsm.DeleteManifest{Repository: "a", Digest: packed("untagged")}) },
			func(w *world) { w.expect("a", "untagged", false) },
		},
		"a subject comes": {
			"delete-manifest",
			func(w *world) { w.push("a", "subject", "s") },
			func(w *world) { w.expect("a", "orphan", true) },
		},
		"nothing": {
			"delete-manifest",
			func(*world) {},
			func(w *world) { w.expect("a", "untagged", false); w.expect("a", "orphan", false) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newest(1)
			p.DeleteUntagged, p.DeleteReferrers = true, true
			inWorld(t, func(w *world) {
				if test.command == "delete-tag" {
					w.push("a", "older", "old")
				}
				if name == "a subject comes" || name == "nothing" {
					w.put(about("orphan", packed("subject")))
				}
				if name == "the next manifest gets a tag" {
					w.push("a", "x") // its digest comes first
				}
				if name != "a subject comes" {
					w.push("a", "untagged")
				}
				w.pass(delay)
				w.push("a", "newest", "newest")
				w.meanwhile(test.command, func() { test.happens(w) })
				w.run()
				test.expect(w)
			}, p)
		})
	}
}

// What is put back is as it was.
func TestManifestThatIsPutBackIsWhole(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		large := about("large", packed("subject"))
		large.Body, large.Size, large.Blobs = nil, 60_000, []fsm.Digest{packed("config"), packed("large")} // the body is a blob
		list := index("a", "list", w.push("a", "child", "c"))
		all := []fsm.PutManifest{about("signature", packed("subject")), large, list, manifest("a", "plain")}
		for _, m := range all {
			w.put(m)
			w.pass(delay)
			before := w.dump(m.Digest)
			w.meanwhile("delete-manifest", func() {
				m.Tags = []fsm.TagMove{{Tag: "t"}}
				apply(w, m)
			})
			w.run()
			w.expectTags("a", "c", "t")
			if after := w.dump(m.Digest); after != before {
				w.t.Errorf("%s was\n%s\nand is\n%s", m.Body, before, after)
			}
			w.check()
			w.expectSaid("manifest removed", 0)
			apply(w, fsm.DeleteManifest{Repository: "a", Digest: m.Digest})
			w.walk()
		}
	}, untagged())
}

// A leader that dies is followed by one that goes on where it was, and counts what both have done.
func TestNextLeaderGoesOn(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for n := range 5 {
			w.push(numbered(n), "m", "one", "two")
		}
		w.deps.AtMost(1000, 2)
		w.restart()
		w.walk()
		w.expectSaid("tag removed", 2)
		w.restart()
		w.push("v0000", "m", "three") // it has been there already
		w.run()
		w.expectSaid("tag removed", 4)
		w.expectTags("v0000", "one", "three")
		w.run()
		w.expectSaid("tag removed", 5)
		w.expectSaid("repositories=5 tags_removed=5", 1)
		w.restart()
		w.run()
		w.expectSaid("tag removed", 5) // the next walk is not due yet, whoever leads
		w.walk()
		w.walk()
		w.expectTags("v0000", "three")
	}, newest(1))
}

// A leader that is deposed in the middle of a walk is refused, and removes nothing more.
func TestDeposedLeaderStops(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.push("a", "m", "1", "2", "3", "4")
		ctx, cancel := context.WithCancel(w.t.Context())
		w.meanwhile("delete-tag", cancel)
		w.pass(interval)
		if err := w.job.Do(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("error %v", err)
		}
		w.expectSaid("tag removed", 1)
		w.restart()
		w.run()
		w.expectTags("a", "1")
	}, newest(1))
}

// One that failed to be heard tries the same repository again.
func TestCommandThatFails(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.push("a", "m", "1", "2")
		lost := errors.New("no quorum")
		w.proposed = func([]byte) error { return lost }
		w.pass(interval)
		if err := w.job.Do(w.t.Context()); !errors.Is(err, lost) {
			w.t.Errorf("error %v", err)
		}
		w.proposed = nil
		w.run()
		w.expectTags("a", "1")
	}, newest(1))
}

// A run looks at so much and removes so much, also in one repository.
func TestRunIsBounded(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		var tags []fsm.TagMove
		for n := range 1200 { // more than two pages
			if tags = append(tags, fsm.TagMove{Tag: numbered(n)}); len(tags) == 60 {
				m := manifest("big", "m")
				m.Tags, tags = tags, nil
				w.put(m)
			}
		}
		for n := range 600 { // more than a page
			w.push("big", numbered(n))
		}
		for n := range 120 { // more than a page
			w.push("small/"+numbered(n), "m", "t")
		}
		w.pass(delay)
		w.deps.AtMost(100, 500)
		w.restart()
		for _, want := range []int{500, 1000, 1500, 1799} {
			before := w.proposals
			w.run()
			if n := strings.Count(w.said.String(), " removed: "); n != want {
				w.t.Errorf("%d removed, want %d", n, want)
			}
			if n := w.proposals - before; n > 501 {
				w.t.Errorf("%d proposals", n)
			}
		}
		for range 4 { // three looks for each of the small ones
			w.expectSaid("retention has gone through", 0)
			w.run()
		}
		w.expectSaid("repositories=121 tags_removed=1199 manifests_removed=600", 1)
		w.expectTags("big", "v0000")
	}, func() retention.Policy {
		p := newest(1)
		p.DeleteUntagged = true
		return p
	}())
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for n := range 110 {
			w.push("a", "m", numbered(n))
		}
		w.push("a", "untagged")
		w.config.DryRun = true
		w.restart()
		w.pass(delay)
		hash := w.content()
		w.run()
		if w.content() != hash {
			w.t.Error("something changed")
		}
		w.expectSaid("tag would be removed", 100)
		w.expectSaid("and more would be removed: store=default repository=a more=10", 1)
		w.expectSaid("dry_run=true repositories=1 tags_removed=109 manifests_removed=1", 1)
	}, func() retention.Policy {
		p := newest(1)
		p.DeleteUntagged = true
		return p
	}())
}

// Repositories that no policy is for, those of other stores and those below other paths stay as they are.
func TestOtherRepositoriesStay(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.config.Except = []string{"sub"}
		w.restart()
		apply(w, fsm.PutManifest{Repository: "elsewhere", Store: "other", Digest: packed("i"), Size: 1, Body: []byte("i"), MediaType: "index", Tags: []fsm.TagMove{{Tag: "1"}, {Tag: "2"}}})
		w.push("sub/a", "m", "1", "2")
		w.push("unnamed", "m", "1", "2")
		w.push("here", "m", "1", "2")
		w.walk()
		w.expectTags("elsewhere", "1", "2")
		w.expectTags("sub/a", "1", "2")
		w.expectTags("unnamed", "1", "2")
		w.expectTags("here", "1")
	}, retention.Policy{Repositories: []string{"here", "elsewhere", "sub/*"}, KeepTags: newest(1).KeepTags})
}

// A clock that jumps ahead ages nothing by more than ten times what has really passed.
func TestClockThatIsWrong(t *testing.T) {
	t.Parallel()
	within := 48 * time.Hour
	inWorld(t, func(w *world) {
		w.push("a", "m", "1")
		time.Sleep(365 * 24 * time.Hour) // on the clock alone
		w.run()
		w.walk()
		w.expectTags("a", "1")
		w.pass(within/10 + 10*time.Minute)
		w.run()
		w.expectTags("a") // it was right after all
	}, everywhere(retention.Policy{KeepTags: []retention.KeepTags{{Rules: retention.Rules{PushedWithin: &within}}}}))
}

func TestWalksHaveAnInterval(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.run() // the first begins at once
		w.push("a", "m", "1", "2")
		w.run()
		w.expectSaid("gone through", 0) // nothing was removed
		w.pass(interval - time.Minute)
		idle := w.proposals
		w.run()
		if w.proposals != idle {
			w.t.Error("a run that is not due says something")
		}
		w.expectTags("a", "1", "2")
		w.pass(time.Minute)
		w.run()
		w.expectTags("a", "1")
		w.expectSaid("gone through", 1)
	}, newest(1))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		policies, err := retention.Compile(w.config)
		if err != nil {
			w.t.Fatal(err)
		}
		whole := retention.Deps{Store: "s", Policies: policies, State: w.state, Proposer: w, Every: interval}
		for name, change := range map[string]func(*retention.Deps){
			"store": func(d *retention.Deps) { d.Store = "" }, "policies": func(d *retention.Deps) { d.Policies = nil }, "state": func(d *retention.Deps) { d.State = nil },
			"proposer": func(d *retention.Deps) { d.Proposer = nil }, "interval": func(d *retention.Deps) { d.Every = 0 },
		} {
			d := whole
			change(&d)
			if _, err := retention.New(d); err == nil {
				w.t.Errorf("without its %s a job was made", name)
			}
		}
	})
}

// A preview says what a run would do, page by page, and does nothing.
func TestPreviews(t *testing.T) {
	t.Parallel()
	p := newest(1)
	p.Repositories, p.DeleteUntagged = []string{"small/**", "big"}, true
	inWorld(t, func(w *world) {
		for n := range 120 { // more than a page
			w.push("small/"+numbered(n), "m", "t")
		}
		w.push("big", "m", "1", "2", "3")
		w.push("big", "untagged")
		w.push("other", "m", "1", "2")
		w.pass(delay)
		policies, err := retention.Compile(w.config)
		if err != nil {
			w.t.Fatal(err)
		}
		before := w.proposals
		var all []retention.Preview
		for more, after := true, ""; more; {
			var page []retention.Preview
			page, more, err = policies.Previews(w.t.Context(), w.state, fsm.DefaultStore, after, time.Now(), false)
			if err != nil {
				w.t.Fatal(err)
			}
			if all = append(all, page...); len(page) > 0 {
				after = page[len(page)-1].Repository
			}
		}
		if len(all) != 122 || w.proposals != before {
			w.t.Fatalf("%d previews, %d proposals", len(all), w.proposals-before)
		}
		big, other, small := all[0], all[1], all[2]
		if big.Repository != "big" || big.Policy != 1 || big.Tags != 3 || big.Manifests != 2 || big.GoingTags != 2 || big.GoingManifests != 1 || len(big.Things) != 3 || big.Things[0].Tag != "2" {
			w.t.Errorf("%+v", big)
		}
		if other.Repository != "other" || other.Policy != -1 || other.Tags != 0 {
			w.t.Errorf("%+v", other)
		}
		if small.Policy != 1 || small.Tags != 1 || small.GoingTags != 0 || small.Things != nil {
			w.t.Errorf("%+v", small)
		}
		page, _, err := policies.Previews(w.t.Context(), w.state, fsm.DefaultStore, "", time.Now(), true)
		if err != nil || len(page[0].Things) != 4 || page[0].Things[0].Goes {
			w.t.Errorf("%+v, %v", page[0], err)
		}
	}, retention.Policy{Repositories: []string{"none"}}, p)
}
