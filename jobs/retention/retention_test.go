package retention_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/retention"
	"github.com/seed-16d79997/zot/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

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

// What follows a look at the state and comes before the command wins, and is never gone in between.
func TestWhatComesInBetweenWins(t *testing.T) {
	t.Parallel()
	orphan := func(w *world) { w.put(about("orphan", packed("subject"))) }
	pull := func(w *world, text string) {
		apply(w, fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: "a", Digest: packed(text), Count: 1}}})
	}
	signature := "sha256-" + packed("subject").Unpack().Encoded() + ".sig"
	for name, test := range map[string]struct {
		before  func(w *world)
		command string
		happens func(w *world)
		tags    string // beside "newest", then
		has     string // manifest that is there, or not
		lost    bool   // it is not
		needed  string // how often the job was too late
	}{
		"a tag is moved": {
			before:  func(w *world) { w.push("a", "older", "old") },
			command: "delete-tag", happens: func(w *world) { w.push("a", "new", "old") },
			tags: "old", has: "new", needed: "1",
		},
		"a tag is pushed again": {
			before:  func(w *world) { w.push("a", "older", "old") },
			command: "delete-tag", happens: func(w *world) { w.push("a", "older", "old") },
			tags: "old", has: "older", needed: "1",
		},
		"a tag is pulled": {
			before:  func(w *world) { w.push("a", "older", "old") },
			command: "delete-tag", happens: func(w *world) { pull(w, "older") },
			tags: "old", has: "older", needed: "1",
		},
		"a tag is deleted": {
			before:  func(w *world) { w.push("a", "older", "old") },
			command: "delete-tag", happens: func(w *world) { apply(w, fsm.DeleteTag{Repository: "a", Tag: "old"}) },
			has: "older", needed: "0",
		},
		"a tag's subject comes": {
			before:  func(w *world) { w.push("a", "signature", signature) },
			command: "delete-tag", happens: func(w *world) { w.push("a", "subject", "newest") },
			tags: signature, has: "signature", needed: "1",
		},
		"a manifest gets a tag": {
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) { w.push("a", "untagged", "t") },
			tags: "t", has: "untagged", needed: "1",
		},
		"a manifest gets many tags": {
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) { w.push("a", "untagged", "t", "u") },
			tags: "t u", has: "untagged", needed: "1",
		},
		"a manifest gets a tag and loses it": {
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) {
				w.push("a", "untagged", "t")
				apply(w, fsm.DeleteTag{Repository: "a", Tag: "t"})
			},
			has: "untagged", needed: "1",
		},
		"the second manifest gets a tag": {
			before:  func(w *world) { w.push("a", "x"); w.push("a", "untagged") }, // the digest of x comes first
			command: "delete-manifest", happens: func(w *world) { w.push("a", "untagged", "t") },
			tags: "t", has: "untagged", needed: "1",
		},
		"a manifest is pushed again": { // as the child of an index that is to come
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) { w.push("a", "untagged") },
			has: "untagged", needed: "1",
		},
		"a manifest is pulled": {
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) { pull(w, "untagged") },
			has: "untagged", needed: "1",
		},
		"a manifest is listed": {
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) { w.put(index("a", "index", packed("untagged")), "i") },
			tags: "i", has: "untagged", needed: "1",
		},
		"a manifest is deleted": {
			before:  func(w *world) { w.push("a", "untagged") },
			command: "delete-manifest", happens: func(w *world) { apply(w, fsm.DeleteManifest{Repository: "a", Digest: packed("untagged")}) },
			has: "untagged", lost: true, needed: "0",
		},
		"a subject comes": {
			before:  orphan,
			command: "delete-manifest", happens: func(w *world) { w.push("a", "subject", "s") },
			tags: "s", has: "orphan", needed: "1",
		},
		"nothing": {
			before:  orphan,
			command: "delete-manifest", happens: func(*world) {},
			has: "orphan", lost: true, needed: "0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newest(1)
			p.DeleteUntagged, p.DeleteReferrers = true, true
			inWorld(t, func(w *world) {
				test.before(w)
				w.pass(delay)
				w.push("a", "newest", "newest")
				w.push("b", "m", "1", "2") // so that something is removed
				before := w.history()
				w.meanwhile(test.command, func() { test.happens(w); before = w.history() })
				w.run()
				w.expectTags("a", append(strings.Fields(test.tags), "newest")...)
				w.expect("a", test.has, !test.lost)
				w.expectSaid("needed_again="+test.needed, 1)
				if after := w.history(); test.needed != "0" && after != before {
					w.t.Errorf("the tags of a were %s, and came to be %s", before, after)
				}
			}, p)
		})
	}
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

// While the registry is read-only the job waits, also from the middle of a repository on, and says so once.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.push("a", "m", "1", "2", "3")
		n := 0
		w.proposed = func(payload []byte) error {
			if n++; nameOf(payload) == "delete-tag" && n == 2 {
				apply(w, fsm.SetReadOnly{On: true})
			}
			return nil
		}
		for range 3 {
			w.walk()
		}
		w.expectSaid("tag removed", 1)
		w.expectSaid("retention waits", 1)
		apply(w, fsm.SetReadOnly{})
		w.run()
		w.expectTags("a", "1")
		apply(w, fsm.SetReadOnly{On: true})
		w.walk()
		w.expectSaid("retention waits", 2)
		apply(w, fsm.SetReadOnly{})
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
		for range 3 { // two looks for each of the small ones
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

// Without keepTags a run looks at nothing but what no tag names and no index lists.
func TestRunDoesNotLookAtWhatStays(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for n := range 5 {
			name := numbered(n)
			for n := range 40 {
				w.put(index(name, fmt.Sprint("index ", n), w.push(name, fmt.Sprint("child ", n))), numbered(n))
			}
			w.push(name, "untagged")
		}
		w.deps.AtMost(11, 1000) // two for each repository
		w.restart()
		w.pass(delay)
		w.run()
		w.expectSaid("repositories=5 tags_removed=0 manifests_removed=5", 1)
	}, untagged())
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

// Repositories that no policy is for and those of other stores stay as they are.
func TestOtherRepositoriesStay(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		apply(w, fsm.PutManifest{Repository: "elsewhere", Store: "other", Digest: packed("i"), Size: 1, Body: []byte("i"), MediaType: "index", Tags: []fsm.TagMove{{Tag: "1"}, {Tag: "2"}}})
		w.push("unnamed", "m", "1", "2")
		w.push("here", "m", "1", "2")
		w.walk()
		w.expectTags("elsewhere", "1", "2")
		w.expectTags("unnamed", "1", "2")
		w.expectTags("here", "1")
	}, retention.Policy{Repositories: []string{"here", "elsewhere"}, KeepTags: newest(1).KeepTags})
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
		if big.Repository != "big" || big.Policy != 1 || big.Tags != 3 || big.Manifests != 1 || big.GoingTags != 2 || big.GoingManifests != 1 || len(big.Things) != 3 || big.Things[0].Tag != "2" {
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
