package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func TestParseTagName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ repository, tag, err string }{
		"app":                   {"app", "", ""},
		"team/app:v1":           {"team/app", "v1", ""},
		"team/app:V.1_-":        {"team/app", "V.1_-", ""},
		"example.org/app:v1":    {"example.org/app", "v1", ""},
		"localhost:5000/app:v1": {"", "", "leave out the host of the registry"},
		"localhost:5000/app":    {"", "", "leave out the host of the registry"},
		"team/app@sha256:00":    {"", "", "names a manifest: write REPOSITORY:TAG"},
		"team/app:":             {"", "", "invalid tag"},
		"team/app:a b":          {"", "", "invalid tag"},
		"App:v1":                {"", "", "invalid repository name"},
		":v1":                   {"", "", "invalid repository name"},
		"":                      {"", "", "invalid repository name"},
	} {
		r, err := parseTagName(text)
		if r != (tagRequest{want.repository, want.tag}) || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%q: %+v, %v; want %+v", text, r, err, want)
		}
	}
}

func FuzzParseTagName(f *testing.F) {
	for _, text := range []string{"team/app:v1", "localhost:5000/app", "a:b:c", "a@b", "", ":"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseTagName(text); err == nil && r.String() != text {
			t.Errorf("%q was read as %+v", text, r)
		} else if err != nil && r != (tagRequest{}) {
			t.Errorf("%q is no name, and was read as %+v", text, r)
		}
	})
}

// Which manifest is meant, and what is said if it cannot be.
func TestChoose(t *testing.T) {
	t.Parallel()
	at := func(letter string, here bool) target {
		return target{Digest: "sha256:" + strings.Repeat(letter, 64), From: time.Unix(1, 0), Until: time.Unix(2, 0), Here: here}
	}
	now := at("a", true)
	past := tagPast{Now: &now, Names: []target{at("b", true), at("c", false), at("a", true), at("bc", true), at("b", true)}}
	for name, test := range map[string]struct {
		past      tagPast
		at        int
		to        string
		want, err string // begins or contains so
	}{
		"the last":           {past, 1, "", "sha256:bb", ""},
		"by number":          {past, 4, "", "sha256:bcb", ""},
		"by digest":          {past, 1, "sha256:" + strings.Repeat("b", 64), "sha256:bbb", ""},
		"by its beginning":   {past, 1, "bcb", "sha256:bcb", ""},
		"of several":         {past, 1, "sha256:b", "", "is the beginning of several digests"},
		"of none":            {past, 1, "d", "", "app:v1 never named d, or that is forgotten"},
		"no such number":     {past, 6, "", "", "app:v1 has no number 6, only 1 to 5"},
		"number 0":           {past, 0, "", "", "app:v1 has no number 0"},
		"as it is":           {past, 3, "", "", "is sha256:" + strings.Repeat("a", 64) + " already"},
		"gone":               {past, 2, "", "", "cannot be brought back. Still here: --at 1, --at 4, --at 5"},
		"all gone":           {tagPast{Names: []target{at("c", false)}}, 1, "", "", "which was deleted since: its bytes are collected or soon will be, and it cannot be brought back"},
		"never moved":        {tagPast{Now: &now}, 1, "", "", "app:v1 has named nothing but what it names now"},
		"nothing known":      {tagPast{}, 1, "", "", "nothing is known of app:v1"},
		"of a deleted tag":   {tagPast{Names: []target{at("a", true)}}, 1, "", "sha256:aa", ""},
		"now is gone, odd":   {tagPast{Now: &target{Digest: "x"}, Names: []target{at("a", true)}}, 1, "", "sha256:aa", ""},
		"number and to, odd": {past, 9, "bcb", "sha256:bcb", ""},
	} {
		got, err := choose(tagRequest{"app", "v1"}, test.past, test.at, test.to)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) || !strings.HasPrefix(got.Digest, test.want) || test.want == "" && got.Digest != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// pushed pushes an image that is only its name to a tag, and returns its digest.
func pushed(t *testing.T, at, repository, tag, text string) string {
	t.Helper()
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	sent(t, http.MethodPost, at+"/v2/"+repository+"/blobs/uploads/?digest="+layer, text, http.StatusCreated)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/x","digest":"%s","size":%d},"layers":[]}`, layer, len(text))
	sent(t, http.MethodPut, at+"/v2/"+repository+"/manifests/"+tag, manifest, http.StatusCreated)
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(manifest)))
}

// ran calls a command that must do what it is asked, and returns what it prints, with dates as DATE and columns
// two spaces apart.
func ran(t *testing.T, args ...string) string {
	t.Helper()
	got := call(args...)
	if got.code != exitDone || got.stderr != "" {
		t.Fatalf("zot %s: %+v", strings.Join(args, " "), got)
	}
	text := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`).ReplaceAllString(got.stdout, "DATE")
	return regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  ")
}

// denied calls a command that must fail with some words.
func denied(t *testing.T, words string, args ...string) {
	t.Helper()
	if got := call(args...); got.code != exitFailed || !strings.Contains(got.stderr, words) {
		t.Errorf("zot %s: %+v, want %q", strings.Join(args, " "), got, words)
	}
}

func TestTagHistory(t *testing.T) {
	t.Parallel()
	port := freePorts(t, 1)[0]
	file := configIn(t, shortDir(t), fmt.Sprintf(`, "http": {"port": %q}`, port))
	stop := started(t, file)
	at := "http://127.0.0.1:" + port
	one := pushed(t, at, "team/app", "v1", "one")
	two := pushed(t, at, "team/app", "v1", "two")

	table := func(rows ...string) string {
		return "AT  FROM  UNTIL  MANIFEST  DIGEST\n" + strings.Join(rows, "\n") + "\n"
	}
	history := []string{"tag", "history", "team/app:v1", "--config", file}
	if got, want := ran(t, history...), table("now  DATE  -  here  "+two, "1  DATE  DATE  here  "+one); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := ran(t, "tag", "history", "team/app", "--config", file), "no deleted tag of team/app is remembered\n"; got != want {
		t.Error(got)
	}
	denied(t, "nothing is known of team/app:v2", "tag", "history", "team/app:v2", "--config", file)
	denied(t, "there is no repository team/none", "tag", "history", "team/none:v2", "--config", file)
	denied(t, "leave out the host", "tag", "history", "127.0.0.1:5000/team/app:v1", "--config", file)

	if got, want := ran(t, "tag", "restore", "team/app:v1", "--config", file), "team/app:v1 is "+one+" again, as from DATE to DATE\n"; got != want {
		t.Error(got)
	}
	if _, body := got(t, at+"/v2/team/app/manifests/v1"); fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body))) != one {
		t.Errorf("v1 is %s", body)
	}
	if got, want := ran(t, history...), table("now  DATE  -  here  "+one, "1  DATE  DATE  here  "+two, "2  DATE  DATE  here  "+one); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	ran(t, "tag", "restore", "team/app:v1", "--to", strings.TrimPrefix(two, "sha256:")[:10], "--config", file)
	denied(t, "is "+two+" already", "tag", "restore", "team/app:v1", "--at", "2", "--config", file)

	sent(t, http.MethodDelete, at+"/v2/team/app/manifests/v1", "", http.StatusAccepted)
	if got := ran(t, history...); !strings.HasPrefix(got, "team/app:v1 was deleted at DATE\n\nAT  FROM  UNTIL  MANIFEST  DIGEST\n1  DATE  DATE  here  "+two) {
		t.Error(got)
	}
	if got, want := ran(t, "tag", "history", "team/app", "--config", file), "TAG  DELETED  MANIFEST  LAST DIGEST\nv1  DATE  here  "+two+"\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	ran(t, "tag", "restore", "team/app:v1", "--config", file)
	if code, _ := got(t, at+"/v2/team/app/manifests/v1"); code != http.StatusOK {
		t.Errorf("v1 is not back: %d", code)
	}

	// What the operator has seen is what is changed.
	c, err := newClient(file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.http.CloseIdleConnections()
	for is, want := range map[string]string{
		"": "team/app:v1 was changed meanwhile: look again with 'zot tag history'", one: "team/app:v1 was changed meanwhile", "sha256:1": "invalid digest",
	} {
		err := c.call(t.Context(), http.MethodPost, "/registry/tag/restore", restoreRequest{tagRequest{"team/app", "v1"}, one, is}, &struct{}{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("seen as %q: %v", is, err)
		}
	}

	// What is deleted by its digest is gone.
	sent(t, http.MethodDelete, at+"/v2/team/app/manifests/"+two, "", http.StatusAccepted)
	denied(t, two+", which was deleted since: its bytes are collected or soon will be, and it cannot be brought back. Still here: --at 3", "tag", "restore", "team/app:v1", "--config", file)
	ran(t, "tag", "restore", "team/app:v1", "--at", "3", "--config", file)

	for name, test := range map[string]struct {
		words string
		args  []string
		code  int
	}{
		"no tag":     {"names no tag: write REPOSITORY:TAG", []string{"tag", "restore", "team/app", "--config", file}, exitFailed},
		"two places": {"none of the others can be", []string{"tag", "restore", "team/app:v1", "--at", "1", "--to", "a"}, exitUsage},
		"which":      {"accepts 1 arg(s), received 0", []string{"tag", "history"}, exitUsage},
		"no node":    {"no node runs at", []string{"tag", "history", "team/app:v1", "--config", configIn(t, "/nowhere", "")}, exitFailed},
	} {
		if got := call(test.args...); got.code != test.code || !strings.Contains(got.stderr, test.words) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := ran(t, "tag"); !strings.Contains(got, "bring it back") {
		t.Error(got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// The same is shown by the node that runs and of what it has left, then the job does it, and the tag is brought
// back in time.
func TestRetentionOfANode(t *testing.T) {
	t.Parallel()
	port, root := freePorts(t, 1)[0], shortDir(t)
	rest := fmt.Sprintf(`, "http": {"port": %q}`, port)
	plain := configIn(t, root, rest)
	put(t, plain, `{"storage": {"rootDirectory": "`+root+`"}`+rest+`}`)
	policies := configIn(t, root, rest)
	put(t, policies, `{"storage": {"rootDirectory": "`+root+`", "gcInterval": "1s", "retention": {"policies": [
		{"repositories": ["team/**"], "keepTags": [{"patterns": ["^v"]}]}]}}`+rest+`}`)
	stop := started(t, plain)
	at := "http://127.0.0.1:" + port
	kept := pushed(t, at, "team/app", "v1", "one")
	gone := pushed(t, at, "team/app", "nightly", "two")
	pushed(t, at, "other/app", "nightly", "two")

	want := "team/app: policies[0] removes 1 of 2 tags and 0 manifests\n" +
		"  TAG  PUSHED  PULLED  REASON  DIGEST\n" +
		"  goes  nightly  DATE  -  no entry of keepTags matches  " + gone + "\n\n" +
		"1 tag and 0 manifests would be removed, from 1 of 2 repositories; by the date DATE\n"
	if got := ran(t, "verify-feature", "retention", policies); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all := ran(t, "verify-feature", "retention", "--all", policies)
	for _, line := range []string{
		"other/app: no policy is for it, and everything stays\n", "  stays  v1  DATE  -  keepTags[0]: a pattern matches  " + kept,
		"1 tag and 0 manifests would be removed, from 1 of 2 repositories",
	} {
		if !strings.Contains(all, line) {
			t.Errorf("%q is not in\n%s", line, all)
		}
	}
	if got := ran(t, "verify-feature", "retention", plain); got != "storage.retention has no policies: every tag and every manifest stays\n" {
		t.Error(got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := ran(t, "verify-feature", "retention", "-t", "5m", "-i", "1s", "--all", policies); got != "note: no node runs in "+root+": this is as it was when one stopped\n"+all {
		t.Errorf("of a node that is stopped:\n%s\nnot\n%s", got, all)
	}

	stop = started(t, policies)
	eventually(t, "the tag is removed", func() bool {
		code, _ := got(t, at+"/v2/team/app/manifests/nightly")
		return code == http.StatusNotFound
	})
	for _, path := range []string{"team/app/manifests/v1", "other/app/manifests/nightly", "team/app/manifests/" + gone} {
		if code, _ := got(t, at+"/v2/"+path); code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop = started(t, plain)
	ran(t, "tag", "restore", "team/app:nightly", "--config", plain)
	if code, _ := got(t, at+"/v2/team/app/manifests/nightly"); code != http.StatusOK {
		t.Errorf("the tag is not back: %d", code)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestVerifyRetentionErrors(t *testing.T) {
	t.Parallel()
	root := shortDir(t)
	put(t, root+"/c.json", `{"storage": {"rootDirectory": "`+root+`", "gc": false, "retention": {"policies": [{"repositories": ["**"]}, {}]}}}`)
	put(t, root+"/bad.json", `{"storage": {"rootDirectory": "`+root+`", "retention": {"policies": [{"repositories": ["["]}]}}}`)
	denied(t, "no node runs in "+root+", and none has: there is nothing to look at", "verify-feature", "retention", root+"/c.json")
	denied(t, `policies[0].repositories[0]: "[" is no glob`, "verify-feature", "retention", root+"/bad.json")
	denied(t, "no such file or directory", "verify-feature", "retention", "-l", "/nowhere/log", root+"/c.json")
	if got := call("verify-feature", "retention", root+"/c.json"); !strings.Contains(got.stdout, "note: storage.retention: says nothing, for gc is false") ||
		!strings.Contains(got.stdout, "note: storage.retention.policies[1]: names no repositories") {
		t.Errorf("%+v", got)
	}
	if got := call("verify-feature"); got.code != exitDone || !strings.Contains(got.stdout, "retention") {
		t.Errorf("%+v", got)
	}
	if c, _, err := config.Load(root + "/c.json"); err != nil || len(c.Storage.Retention.Policies) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}
