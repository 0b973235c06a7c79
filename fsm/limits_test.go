package fsm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

func TestLimitsEncodings(t *testing.T) {
	golden(t, fsm.SetLimits{Limits: fsm.Limits{MaxRepositories: 10, Quotas: []fsm.Quota{{Prefix: "", Bytes: 1 << 40}, {Prefix: "team/app", Bytes: 1 << 30}}}})
	golden(t, fsm.SetReadOnly{On: true, Reason: "a new disk"})
}

// quotas is a SetLimits with one quota.
func quotas(prefix string, bytes int64) fsm.SetLimits {
	return fsm.SetLimits{Limits: fsm.Limits{Quotas: []fsm.Quota{{Prefix: prefix, Bytes: bytes}}}}
}

// expectUsed compares what the repositories at and below a prefix have.
func (r *replica) expectUsed(prefix string, bytes, repositories int64) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		if have := v.Used(prefix); have != (fsm.Used{Bytes: bytes, Repositories: repositories}) {
			r.t.Errorf("%q has %+v, want %d bytes in %d repositories", prefix, have, bytes, repositories)
		}
	})
}

func TestUsed(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("team/app", "12345", loc(1, 1), loc(2, 2)))
	do(r, r.upload("team/app", "12345", loc(1, 3), loc(2, 4))) // once
	do(r, fsm.Mount{From: "team/app", To: "team", Store: "default", Digest: dig("12345")})
	do(r, fsm.Mount{From: "team/app", To: "team-2", Store: "default", Digest: dig("12345")})
	do(r, tagged(put("team/app", "manifest", "12345"), "1"))
	do(r, tagged(put("team/app", "manifest", "12345"), "2"))
	r.expectUsed("team/app", 13, 1)
	r.expectUsed("team", 18, 2)
	r.expectUsed("team-2", 5, 1)
	r.expectUsed("", 23, 3)
	r.expectUsed("te", 0, 0)
	r.sound()

	do(r, fsm.DeleteManifest{Repository: "team/app", Digest: dig("manifest")})
	r.expectUsed("team", 10, 2)
	do(r, fsm.DeleteBlob{Repository: "team", Digest: dig("12345")})
	r.expectUsed("team", 5, 2)
	r.wait(2 * time.Hour)
	do(r, fsm.CollectBlobs{Store: "default", Links: []fsm.LinkName{{Repository: "team/app", Digest: dig("12345")}, {Repository: "team-2", Digest: dig("12345")}}})
	r.expectUsed("", 0, 3)
	do(r, fsm.CollectRepositories{Repositories: []string{"team", "team-2", "team/app"}})
	r.expectUsed("team", 0, 0)
	r.expectUsed("", 0, 0)
	r.sound()
}

// A large manifest is a blob of its repository: it counts once.
func TestUsedByALargeManifest(t *testing.T) {
	r := newCluster(t, 2)
	large := strings.Repeat("m", 49<<10)
	do(r, r.upload("a", large, loc(1, 1), loc(2, 2)))
	c := put("a", large)
	c.Body = nil
	do(r, c)
	r.expectUsed("a", 49<<10, 1)
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig(large)})
	r.expectUsed("a", 49<<10, 1)
	r.sound()
}

func TestQuota(t *testing.T) {
	const repository, blob = "team/app", "0123456789"
	for name, test := range map[string]struct {
		prefix string
		bytes  int64 // the repository has ten already
		push   func(r *replica) fsm.Command
		want   error
	}{
		"a blob fits exactly":        {repository, 15, func(r *replica) fsm.Command { return r.upload(repository, "12345", loc(1, 1), loc(2, 2)) }, nil},
		"a blob is a byte too large": {repository, 14, func(r *replica) fsm.Command { return r.upload(repository, "12345", loc(1, 1), loc(2, 2)) }, fsm.ErrQuotaExceeded},
		"of the prefix above":        {"team", 14, func(r *replica) fsm.Command { return r.upload(repository, "12345", loc(1, 1), loc(2, 2)) }, fsm.ErrQuotaExceeded},
		"of the registry":            {"", 14, func(r *replica) fsm.Command { return r.upload("other", "12345", loc(1, 1), loc(2, 2)) }, fsm.ErrQuotaExceeded},
		"a repository beside it":     {"team", 14, func(r *replica) fsm.Command { return r.upload("team/b", "12345", loc(1, 1), loc(2, 2)) }, fsm.ErrQuotaExceeded},
		"a name that begins like it": {"team", 14, func(r *replica) fsm.Command { return r.upload("team-b", "12345", loc(1, 1), loc(2, 2)) }, nil},
		"of a repository beside it":  {"team/b", 1, func(r *replica) fsm.Command { return r.upload(repository, "12345", loc(1, 1), loc(2, 2)) }, nil},
		"of a repository below it":   {"team/app/sub", 1, func(r *replica) fsm.Command { return r.upload(repository, "12345", loc(1, 1), loc(2, 2)) }, nil},
		"a blob that is there":       {repository, 10, func(r *replica) fsm.Command { return r.upload(repository, blob, loc(1, 1), loc(2, 2)) }, nil},
		"... and far too much of it": {repository, 1, func(r *replica) fsm.Command { return r.upload(repository, blob, loc(1, 1), loc(2, 2)) }, nil},
		"an empty blob":              {repository, 10, func(r *replica) fsm.Command { return r.upload(repository, "", loc(1, 1), loc(2, 2)) }, nil},
		"a mount fits": {"to", 10, func(*replica) fsm.Command {
			return fsm.Mount{From: repository, To: "to", Store: "default", Digest: dig(blob)}
		}, nil},
		"a mount is too large": {"to", 9, func(*replica) fsm.Command {
			return fsm.Mount{From: repository, To: "to", Store: "default", Digest: dig(blob)}
		}, fsm.ErrQuotaExceeded},
		"a mount of what is there": {repository, 1, func(*replica) fsm.Command {
			return fsm.Mount{From: repository, To: repository, Store: "default", Digest: dig(blob)}
		}, nil},
		"a manifest fits":         {repository, 18, func(*replica) fsm.Command { return put(repository, "manifest", blob) }, nil},
		"a manifest is too large": {repository, 17, func(*replica) fsm.Command { return put(repository, "manifest", blob) }, fsm.ErrQuotaExceeded},
		"a tag of a manifest":     {repository, 1, func(*replica) fsm.Command { return tagged(put(repository, "there", blob), "tag") }, nil},
		"a lease": {repository, 1, func(*replica) fsm.Command {
			return fsm.RenewLease{Repository: repository, Store: "default", Digest: dig(blob)}
		}, nil},
		"a delete":                    {repository, 1, func(*replica) fsm.Command { return fsm.DeleteManifest{Repository: repository, Digest: dig("there")} }, nil},
		"what is missing comes first": {repository, 1, func(*replica) fsm.Command { return put(repository, "manifest", "missing") }, fsm.ErrManifestBlobUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCluster(t, 2)
			do(r, r.upload(repository, blob, loc(1, 8), loc(2, 9)))
			do(r, put(repository, "there", blob))
			var base int64 = 5 // of "there": the table is about the blobs
			if test.prefix == "to" || test.prefix == "team/b" || test.prefix == "team/app/sub" {
				base = 0
			}
			do(r, quotas(test.prefix, test.bytes+base))
			var before fsm.Used
			r.view(func(v fsm.View) { before = v.Used("") })
			result := r.apply(r.command(test.push(r)))[0]
			if err := r.Explain(result); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != nil {
				r.expectUsed("", before.Bytes, before.Repositories)
			}
			r.sound()
		})
	}
}

// Who is refused is told by what, and how much there is.
func TestQuotaSaysWhy(t *testing.T) {
	r := newCluster(t, 2)
	c := r.upload("team/app", "x", loc(1, 1), loc(2, 2))
	c.Size = 1600 << 20
	do(r, c)
	do(r, quotas("team", 2<<30))
	c = r.upload("team/app", "y", loc(1, 3), loc(2, 4))
	c.Size = 512<<20 + 1
	_, err := fsm.Do(t.Context(), r, c)
	if want := "quota exceeded: the quota of team is 2 GiB, 1.5 GiB of it are used, and this needs 512.0 MiB more"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	r.view(func(v fsm.View) {
		if fits := v.Fits("team/app", c.Size); fits == nil || fits.Error() != err.Error() {
			t.Errorf("before it was proposed: %v", fits)
		}
		if err := errors.Join(v.Fits("team/app", 448<<20), v.Fits("other", c.Size), v.Fits("team/app", 0)); err != nil {
			t.Error(err)
		}
	})
}

// Two pushes that each fit, but not both: in whatever batch they come, exactly one is taken.
func TestRacingPushesCannotPassAQuota(t *testing.T) {
	for name, apply := range map[string]func(r *replica, one, two entry.Entry) []entry.Result{
		"in a batch": func(r *replica, one, two entry.Entry) []entry.Result { return r.apply(one, two) },
		"in two":     func(r *replica, one, two entry.Entry) []entry.Result { return append(r.apply(one), r.apply(two)...) },
		"and repeated": func(r *replica, one, two entry.Entry) []entry.Result {
			return r.apply(one, two, r.again(one), r.again(two))[:2]
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCluster(t, 2)
			do(r, fsm.SetLimits{Limits: fsm.Limits{MaxRepositories: 2, Quotas: []fsm.Quota{{Prefix: "team", Bytes: 10}}}})
			one, two := r.upload("team/a", "123456", loc(1, 1), loc(2, 2)), r.upload("team/b", "abcdef", loc(1, 3), loc(2, 4))
			results := apply(r, r.command(one), r.command(two))
			if err := r.Explain(results[0]); err != nil {
				t.Error(err)
			}
			if err := r.Explain(results[1]); !errors.Is(err, fsm.ErrQuotaExceeded) {
				t.Errorf("the second: %v", err)
			}
			r.expectUsed("team", 6, 1) // what was refused made no repository
			r.expectUsed("", 6, 1)
			r.sound()
		})
	}
}

func TestMaxRepositories(t *testing.T) {
	r := newCluster(t, 2)
	limit := func(n int64) fsm.SetLimits { return fsm.SetLimits{Limits: fsm.Limits{MaxRepositories: n}} }
	upload := func(name string, id byte) fsm.BlobStored { return r.upload(name, "x", loc(1, id), loc(2, id)) }
	do(r, limit(2))
	do(r, upload("a", 1))
	results := r.apply(r.command(upload("b", 2)), r.command(upload("c", 3)))
	if err := r.Explain(results[0]); err != nil {
		t.Error(err)
	}
	if err := r.Explain(results[1]); !errors.Is(err, fsm.ErrTooManyRepositories) {
		t.Error(err)
	}
	refused(r, fsm.ErrTooManyRepositories, fsm.Mount{From: "a", To: "c", Store: "default", Digest: dig("x")})
	refused(r, fsm.ErrTooManyRepositories, put("c", "manifest"))
	r.view(func(v fsm.View) {
		if err := v.Fits("c", 0); !errors.Is(err, fsm.ErrTooManyRepositories) {
			t.Error(err)
		}
	})
	do(r, put("b", "manifest"))
	do(r, limit(1)) // what is over it stays, and is used
	do(r, put("b", "another"))
	r.expectUsed("", 17, 2)

	do(r, limit(2))
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	refused(r, fsm.ErrTooManyRepositories, upload("c", 4))
	do(r, fsm.CollectRepositories{Repositories: []string{"a"}})
	do(r, upload("c", 5))
	do(r, limit(0))
	do(r, upload("d", 6))
	r.sound()
}

// What is said replaces all that was said before.
func TestSetLimits(t *testing.T) {
	r := newReplica(t)
	for _, want := range []fsm.Limits{
		{MaxRepositories: 3, Quotas: []fsm.Quota{{"", 5}, {"a", 1}, {"a-b", 2}, {"a/b", 3}}},
		{Quotas: []fsm.Quota{{"a", 7}, {"z", 1}}},
		{MaxRepositories: 1},
		{},
	} {
		do(r, fsm.SetLimits{Limits: want})
		r.view(func(v fsm.View) {
			if have := v.Limits(); have.MaxRepositories != want.MaxRepositories || !slices.Equal(have.Quotas, want.Quotas) {
				t.Errorf("%+v, want %+v", have, want)
			}
		})
		r.sound()
	}
}

func TestSetLimitsCheck(t *testing.T) {
	many := make([]fsm.Quota, 1001)
	for i := range many {
		many[i] = fsm.Quota{Prefix: fmt.Sprintf("r%04d", i), Bytes: 1}
	}
	for name, limits := range map[string]fsm.Limits{
		"negative":       {MaxRepositories: -1},
		"no bytes":       {Quotas: []fsm.Quota{{"a", 0}}},
		"no name":        {Quotas: []fsm.Quota{{"A", 1}}},
		"a slash behind": {Quotas: []fsm.Quota{{"a/", 1}}},
		"twice":          {Quotas: []fsm.Quota{{"a", 1}, {"a", 2}}},
		"out of order":   {Quotas: []fsm.Quota{{"b", 1}, {"a", 2}}},
		"too many":       {Quotas: many},
	} {
		if _, err := fsm.Encode(fsm.SetLimits{Limits: limits}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for name, c := range map[string]fsm.SetReadOnly{
		"a reason for nothing": {Reason: "why"},
		"a long reason":        {On: true, Reason: strings.Repeat("x", 501)},
		"an escape":            {On: true, Reason: "\x1b[2J"},
		"no UTF-8":             {On: true, Reason: "\xff"},
	} {
		if _, err := fsm.Encode(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// While the registry is read-only nothing of it changes, and all that keeps it alive goes on.
func TestReadOnly(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "loose", loc(1, 3), loc(2, 4)))
	do(r, tagged(put("a", "manifest", "x"), "1"))
	do(r, tagged(put("a", "manifest", "x"), "2"))
	do(r, fsm.DeleteTag{Repository: "a", Tag: "2"})
	taken := r.command(r.upload("a", "late", loc(1, 5), loc(2, 6)))
	want := r.apply(taken)[0]
	do(r, fsm.SetReadOnly{On: true, Reason: "a new disk"})
	before := r.content()

	refused(r, fsm.ErrReadOnly, r.upload("a", "y", loc(1, 7), loc(2, 8)))
	refused(r, fsm.ErrReadOnly, r.upload("a", "x", loc(1, 7), loc(2, 8)))
	refused(r, fsm.ErrReadOnly, fsm.Mount{From: "a", To: "b", Store: "default", Digest: dig("x")})
	refused(r, fsm.ErrReadOnly, tagged(put("a", "manifest", "x"), "3"))
	refused(r, fsm.ErrReadOnly, put("b", "manifest"))
	refused(r, fsm.ErrReadOnly, fsm.DeleteManifest{Repository: "a", Digest: dig("manifest")})
	refused(r, fsm.ErrReadOnly, fsm.DeleteTag{Repository: "a", Tag: "1"})
	refused(r, fsm.ErrReadOnly, fsm.DeleteTag{Repository: "a", Tag: "1", UnneededAt: r.index})
	refused(r, fsm.ErrReadOnly, fsm.RestoreTag{Repository: "a", Tag: "2", Digest: dig("manifest")})
	refused(r, fsm.ErrReadOnly, fsm.DeleteBlob{Repository: "a", Digest: dig("loose")})
	if after := r.content(); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	if have := r.apply(r.again(taken))[0]; r.Explain(have) != nil || have.Outcome != want.Outcome {
		t.Errorf("who asks again for what was taken before gets %v", r.Explain(have))
	}

	do(r, fsm.RenewLease{Repository: "a", Store: "default", Digest: dig("loose")})
	do(r, fsm.RecordPulls{Pulls: []fsm.Pull{{Repository: "a", Digest: dig("manifest"), Count: 1}}})
	do(r, fsm.SetPreference{User: "ann", Repository: "a", Mark: fsm.Star, Change: fsm.SetMark})
	do(r, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(3, 9), Stamp: r.time})
	do(r, fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: loc(1, 1)})
	do(r, fsm.CopyRemoved{Incarnation: node(1), Store: "default", Copies: []fsm.CopyID{{1}}})
	do(r, started(4))
	do(r, fsm.NodeJoined{Incarnation: node(4)})
	r.wait(2 * time.Hour)
	done := do(r, fsm.CollectBlobs{Store: "default", Links: []fsm.LinkName{{Repository: "a", Digest: dig("loose")}}})
	if done.Links != 1 || done.Blobs != 1 {
		t.Errorf("collected %+v", done)
	}

	r.view(func(v fsm.View) {
		now, is := v.ReadOnly()
		if err := v.Writable(); !is || now.Reason != "a new disk" || now.Since == 0 || !errors.Is(err, fsm.ErrReadOnly) || !strings.Contains(err.Error(), "a new disk") {
			t.Errorf("%+v, %t, %v", now, is, err)
		}
	})
	do(r, fsm.SetReadOnly{})
	do(r, tagged(put("a", "manifest", "x"), "3"))
	do(r, fsm.SetReadOnly{})
	r.sound()
}
