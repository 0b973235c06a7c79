package retention

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
)

// today is the date of all judgements here, and gcDelay how long a lease is.
const (
	today   = int64(1_800_000_000_000)
	gcDelay = time.Hour
)

func hours(n float64) time.Duration { return time.Duration(n * float64(time.Hour)) }

// ago is a date so many hours ago; of -1, never.
func ago(n float64) int64 {
	if n < 0 {
		return 0
	}
	return today - hours(n).Milliseconds()
}

const never = -1

// named is a tag that was pushed and pulled so many hours ago.
func named(name string, pushed, pulled float64) tag {
	return tag{name: name, digest: packed(name), pushed: ago(pushed), pulled: ago(pulled)}
}

func packed(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// compiled is a policy of one repository, whose delay is a day.
func compiled(t *testing.T, p Policy) *policy {
	t.Helper()
	p.Repositories = []string{"**"}
	all, err := Compile(Config{Delay: hours(24), Policies: []Policy{p}})
	if err != nil {
		t.Fatal(err)
	}
	return all.of("any")
}

// COMPAT 11, sentence by sentence, and what zot's page and program add to it.
func TestKeepTags(t *testing.T) {
	t.Parallel()
	all := []tag{
		named("v1.0", 100, never), named("v1.1", 90, 1), named("v2.0", 80, 60), named("v2.1", 1, never), named("main", 500, 200), named("main-1", 7, never), named("main-2", 6, never), named("main-3", 5, never),
	}
	keep := func(k ...KeepTags) Policy { return Policy{KeepTags: k} }
	for name, test := range map[string]struct {
		policy Policy
		stay   string
	}{
		"no keepTags keeps all":               {Policy{}, "v1.0 v1.1 v2.0 v2.1 main main-1 main-2 main-3"},
		"a tag that matches no entry goes":    {keep(KeepTags{Patterns: []string{"^v2"}}), "v2.0 v2.1"},
		"patterns are found anywhere":         {keep(KeepTags{Patterns: []string{"2"}}), "v2.0 v2.1 main-2"},
		"any of the patterns":                 {keep(KeepTags{Patterns: []string{"^v2", "^main$"}}), "v2.0 v2.1 main"},
		"no patterns are for every tag":       {keep(KeepTags{}), "v1.0 v1.1 v2.0 v2.1 main main-1 main-2 main-3"},
		"patterns without rules keep":         {keep(KeepTags{Patterns: []string{"v1.*"}}), "v1.0 v1.1"},
		"rules are for what patterns match":   {keep(KeepTags{Patterns: []string{"^v"}, Rules: Rules{PushedWithin: new(hours(10))}}), "v2.1"},
		"pushedWithin":                        {keep(KeepTags{Rules: Rules{PushedWithin: new(hours(85))}}), "v2.0 v2.1 main-1 main-2 main-3"},
		"pushedWithin, to the millisecond":    {keep(KeepTags{Rules: Rules{PushedWithin: new(hours(7))}}), "v2.1 main-2 main-3"},
		"pulledWithin, or pushed":             {keep(KeepTags{Rules: Rules{PulledWithin: new(hours(2))}}), "v1.1 v2.1"},
		"a rule of no time keeps nothing":     {keep(KeepTags{Rules: Rules{PulledWithin: new(time.Duration(0))}}), ""},
		"mostRecentlyPushedCount":             {keep(KeepTags{Rules: Rules{MostRecentlyPushed: 3}}), "v2.1 main-2 main-3"},
		"mostRecentlyPushedCount, more":       {keep(KeepTags{Rules: Rules{MostRecentlyPushed: 30}}), "v1.0 v1.1 v2.0 v2.1 main main-1 main-2 main-3"},
		"mostRecentlyPulledCount":             {keep(KeepTags{Rules: Rules{MostRecentlyPulled: 2}}), "v1.1 v2.0"},
		"mostRecentlyPulledCount, never ones": {keep(KeepTags{Rules: Rules{MostRecentlyPulled: 4}}), "v1.1 v2.0 v2.1 main"},
		"any rule met keeps": {
			keep(KeepTags{Rules: Rules{MostRecentlyPushed: 1, MostRecentlyPulled: 1, PushedWithin: new(hours(5.5)), PulledWithin: new(hours(65))}}),
			"v1.1 v2.0 v2.1 main-1 main-2 main-3",
		},
		"any entry keeps (page)": {
			keep(KeepTags{Patterns: []string{"^v"}, Rules: Rules{PulledWithin: new(hours(2))}}, KeepTags{Patterns: []string{"^v2"}}), "v1.1 v2.0 v2.1",
		},
		"an entry counts what none before it matched (program)": {
			keep(KeepTags{Patterns: []string{"main$"}}, KeepTags{Patterns: []string{"main"}, Rules: Rules{MostRecentlyPulled: 1, MostRecentlyPushed: 2}}), "main main-2 main-3",
		},
		"an entry counts all that it matches (page)": {
			keep(KeepTags{Patterns: []string{"main-3"}}, KeepTags{Patterns: []string{"main"}, Rules: Rules{MostRecentlyPushed: 1}}), "main-2 main-3",
		},
		"entries that match apart (zot 3804)": {
			keep(KeepTags{Patterns: []string{"main-1"}, Rules: Rules{MostRecentlyPushed: 1}}, KeepTags{Patterns: []string{"main-2"}, Rules: Rules{MostRecentlyPushed: 1}},
				KeepTags{Rules: Rules{PushedWithin: new(hours(2))}}), "v2.1 main-1 main-2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stay []string
			for i, v := range compiled(t, test.policy).judgeTags(all, moment{today, gcDelay}) {
				if v.Why == "" {
					t.Errorf("%s: no reason", all[i].name)
				}
				if !v.Goes {
					stay = append(stay, all[i].name)
				}
			}
			if got := strings.Join(stay, " "); got != test.stay {
				t.Errorf("%s stay, want %s", got, test.stay)
			}
		})
	}
}

// A tag whose name says whose signature it is goes where its subject does.
func TestSignaturesFollowTheirSubject(t *testing.T) {
	t.Parallel()
	tags := []tag{{name: "there", subject: there, pushed: ago(100)}, {name: "gone", subject: missing, pushed: ago(100)}, {name: "young", subject: missing, pushed: ago(23)}}
	for name, test := range map[string]struct {
		policy Policy
		stay   string
	}{
		"deleteReferrers is off": {Policy{KeepTags: []KeepTags{{Patterns: []string{"^v"}}}}, "there gone young"},
		"deleteReferrers is on":  {Policy{DeleteReferrers: true, KeepTags: []KeepTags{{Patterns: []string{"^v"}}}}, "there young"},
		"whatever patterns say":  {Policy{DeleteReferrers: true, KeepTags: []KeepTags{{Patterns: []string{"."}}}}, "there young"},
		"without keepTags":       {Policy{DeleteReferrers: true}, "there gone young"},
	} {
		var stay []string
		for i, v := range compiled(t, test.policy).judgeTags(tags, moment{today, gcDelay}) {
			if !v.Goes {
				stay = append(stay, tags[i].name)
			}
		}
		if got := strings.Join(stay, " "); got != test.stay {
			t.Errorf("%s: %s stay, want %s", name, got, test.stay)
		}
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	old := func(change func(*manifest)) manifest {
		m := manifest{digest: packed("m"), pushed: ago(100)}
		change(&m)
		return m
	}
	untagged := Policy{DeleteUntagged: true}
	for name, test := range map[string]struct {
		policy Policy
		m      manifest
		goes   bool
	}{
		"untagged goes":                         {untagged, old(func(*manifest) {}), true},
		"deleteUntagged is off":                 {Policy{}, old(func(*manifest) {}), false},
		"younger than delay stays":              {untagged, old(func(m *manifest) { m.pushed = ago(23.9) }), false},
		"as old as delay goes":                  {untagged, old(func(m *manifest) { m.pushed = ago(24) }), true},
		"untagged for less than delay":          {untagged, old(func(m *manifest) { m.untagged = ago(2) }), false},
		"untagged for more than delay":          {untagged, old(func(m *manifest) { m.untagged = ago(25) }), true},
		"pushed in the future stays":            {untagged, old(func(m *manifest) { m.pushed = ago(0) + 1e9 }), false},
		"its subject is there":                  {Policy{DeleteUntagged: true, DeleteReferrers: true}, old(func(m *manifest) { m.subject = there }), false},
		"its subject is gone":                   {Policy{DeleteReferrers: true}, old(func(m *manifest) { m.subject = missing }), true},
		"its subject may come yet":              {Policy{DeleteReferrers: true}, old(func(m *manifest) { m.subject, m.pushed = missing, ago(23) }), false},
		"deleteReferrers is off":                {untagged, old(func(m *manifest) { m.subject = missing }), false},
		"keepUntagged pulledWithin":             {Policy{DeleteUntagged: true, KeepUntagged: Rules{PulledWithin: new(hours(48))}}, old(func(m *manifest) { m.pulled = ago(47) }), false},
		"keepUntagged pulledWithin, not met":    {Policy{DeleteUntagged: true, KeepUntagged: Rules{PulledWithin: new(hours(48))}}, old(func(m *manifest) { m.pulled = ago(49) }), true},
		"keepUntagged pushedWithin":             {Policy{DeleteUntagged: true, KeepUntagged: Rules{PushedWithin: new(hours(101))}}, old(func(*manifest) {}), false},
		"keepUntagged mostRecentlyPulledCount":  {Policy{DeleteUntagged: true, KeepUntagged: Rules{MostRecentlyPulled: 1}}, old(func(*manifest) {}), false},
		"keepUntagged mostRecentlyPushedCount":  {Policy{DeleteUntagged: true, KeepUntagged: Rules{MostRecentlyPushed: 1}}, old(func(*manifest) {}), false},
		"keepUntagged does not keep a referrer": {Policy{DeleteReferrers: true, DeleteUntagged: true, KeepUntagged: Rules{MostRecentlyPushed: 1}}, old(func(m *manifest) { m.subject = missing }), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v := compiled(t, test.policy).judgeManifests([]manifest{test.m}, moment{today, gcDelay})[0]; v.Goes != test.goes || v.Why == "" {
				t.Errorf("%+v", v)
			}
		})
	}
}

// What has no delay is never too young, and a clock may be wrong all the same.
func TestManifestWithoutDelay(t *testing.T) {
	t.Parallel()
	p := compiled(t, Policy{DeleteUntagged: true})
	p.delay = 0
	for pushed, want := range map[int64]Verdict{
		today - 1: {true, "no tag names it"},
		today:     {true, "no tag names it"},
		today + 1: {false, "no tag names it, since a date that is yet to come"},
	} {
		if v := p.judgeManifests([]manifest{{digest: packed("m"), pushed: pushed}}, moment{today, gcDelay})[0]; v != want {
			t.Errorf("%+v, want %+v", v, want)
		}
	}
}

// A delay that is shorter than a lease does not catch a signature whose image is still being pushed.
func TestReferrersWaitForTheLease(t *testing.T) {
	t.Parallel()
	all, err := Compile(Config{Policies: []Policy{{Repositories: []string{"**"}, DeleteReferrers: true}}})
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[float64]bool{0.9: false, 1.1: true} {
		m := []manifest{{digest: packed("m"), pushed: ago(age), subject: missing}}
		if v := all.of("any").judgeManifests(m, moment{today, gcDelay})[0]; v.Goes != want {
			t.Errorf("%v hours: %+v", age, v)
		}
	}
}

// What is needed takes no place among the newest untagged.
func TestCountsAreNotOfReferrers(t *testing.T) {
	t.Parallel()
	all := []manifest{
		{digest: packed("signature"), pushed: ago(30), subject: there},
		{digest: packed("new"), pushed: ago(32)},
		{digest: packed("old"), pushed: ago(33)},
	}
	p := compiled(t, Policy{DeleteUntagged: true, KeepUntagged: Rules{MostRecentlyPushed: 1}})
	var going []int
	for i, v := range p.judgeManifests(all, moment{today, gcDelay}) {
		if v.Goes {
			going = append(going, i)
		}
	}
	if !slices.Equal(going, []int{2}) {
		t.Errorf("%v go", going)
	}
}

func TestWhichPolicy(t *testing.T) {
	t.Parallel()
	all, err := Compile(Config{Policies: []Policy{
		{Repositories: []string{"infra/*", "prod/*"}},
		{Repositories: []string{"tmp/**"}},
		{Repositories: []string{"infra/**", "s*", "sub/**"}},
		{},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string]int{
		"infra/a": 0, "prod/a": 0, "infra/a/b": 2, "tmp/a/b/c": 1, "tmp": 1, "prod/a/b": -1, "other": -1, "sub": 2, "sub/a": 2, "subs": 2,
	} {
		got := slices.Index(all.all, all.of(repository))
		if got != want {
			t.Errorf("%s: policy %d, want %d", repository, got, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"glob":          {Policies: []Policy{{Repositories: []string{"["}}}},
		"pattern":       {Policies: []Policy{{KeepTags: []KeepTags{{Patterns: []string{"("}}}}}},
		"delay":         {Delay: -1},
		"count":         {Policies: []Policy{{KeepTags: []KeepTags{{Rules: Rules{MostRecentlyPulled: -1}}}}}},
		"time":          {Policies: []Policy{{KeepTags: []KeepTags{{Rules: Rules{PushedWithin: new(time.Duration(-1))}}}}}},
		"untagged time": {Policies: []Policy{{KeepUntagged: Rules{PulledWithin: new(time.Duration(-1))}}}},
	} {
		if _, err := Compile(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The date is the leader's clock where state time bears it out.
func TestDate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	from := anchor{Date: today, At: int64(day)}
	for name, test := range map[string]struct{ clock, state, want, anchor time.Duration }{ // all since the anchor
		"the clock is right":             {time.Hour, time.Hour, time.Hour, time.Hour},
		"nobody led for a while":         {9 * time.Hour, time.Hour, 9 * time.Hour, 9 * time.Hour},
		"nobody led for long":            {100 * time.Hour, time.Hour, 10 * time.Hour, 10 * time.Hour},
		"the clock is a year ahead":      {365 * day, time.Hour, 10 * time.Hour, 10 * time.Hour},
		"the clock is a year behind":     {-365 * day, time.Hour, -365 * day, time.Hour},
		"the clock stands still":         {0, time.Hour, 0, time.Hour},
		"no time has passed":             {time.Hour, 0, 0, 0},
		"the state is older than before": {time.Hour, -time.Hour, 0, 0},
	} {
		date, next := from.date(today+test.clock.Milliseconds(), int64(day+test.state))
		want := anchor{Date: today + test.anchor.Milliseconds(), At: int64(day + test.state)}
		if date != today+test.want.Milliseconds() || next != want {
			t.Errorf("%s: %s, then %+v; want %s, then %+v", name, time.Duration(date-today)*time.Millisecond, next, test.want, want)
		}
	}
}

func ExampleVerdict() {
	all, _ := Compile(Config{Delay: hours(24), Policies: []Policy{{
		Repositories: []string{"**"}, DeleteUntagged: true,
		KeepTags: []KeepTags{{Patterns: []string{"^v"}}, {Rules: Rules{MostRecentlyPushed: 1, PushedWithin: new(hours(48))}}},
	}}})
	r := repository{
		tags:      []tag{named("main", 1, never), named("nightly", 30, never), named("old", 90, 3), named("v1", 900, never)},
		manifests: []manifest{{digest: packed("m"), pushed: ago(30)}, {digest: packed("n"), pushed: ago(3)}},
	}
	for t := range all.of("any").judge(r, moment{today, gcDelay}) {
		fmt.Println(t.Tag, t.Goes, t.Why)
	}
	// Output:
	// main false keepTags[1]: mostRecentlyPushedCount 1
	// nightly false keepTags[1]: pushedWithin 48h
	// old true no rule of keepTags[1] is met
	// v1 false keepTags[0]: a pattern matches
	//  true no tag names it
	//  false no tag names it, since less than 24h
}
