package examples_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// start runs a node with the example, in the format in which it was, and returns what `zot verify` says of the file. That
// has a line for each section that is not built, and for no others.
func (m *moved) start(t *testing.T, format string) (n *harness.Node, noted []string) {
	t.Helper()
	port := strconv.Itoa(harness.FreePorts(t, 1)[0])
	web := m.config.in("http")
	web.put("address", "127.0.0.1")
	web.put("port", port)
	write := yaml.Marshal
	if format == ".json" {
		write = json.Marshal
	}
	text, err := write(m.config)
	if err != nil {
		t.Fatal(err)
	}
	n, verified := harness.StartConfigured(t, put(t, "config"+format, string(text)), "127.0.0.1:"+port, m.client)
	var said []string
	for line := range strings.Lines(verified) {
		note, is := strings.CutPrefix(strings.TrimSpace(line), "note: ")
		if !is {
			continue
		}
		noted = append(noted, note)
		if key, is := strings.CutSuffix(note, unbuilt); is {
			said = append(said, key)
		} else if key, _, is := strings.Cut(note, unbuilt+":"); is {
			said = append(said, key)
		}
	}
	var want []string
	for _, path := range notBuilt() {
		if m.config.at(strings.Split(path, ".")...) != nil {
			want = append(want, path)
		}
	}
	slices.Sort(said)
	slices.Sort(want)
	if !slices.Equal(said, want) {
		t.Errorf("zot verify says that %q are not built, want %q", said, want)
	}
	return n, noted
}

// unbuilt is what a line about a section that is not built has after its key.
const unbuilt = ": is a key of zot that this version does not act on yet"

// says sees to it that the node has logged what `zot verify` says, a line each, and nothing that is broken or secret.
func (m *moved) says(t *testing.T, n *harness.Node, noted []string) {
	t.Helper()
	printed := n.Log(t)
	log := printed
	if m.output != "" {
		text, err := os.ReadFile(m.output)
		if err != nil {
			t.Fatal(err)
		}
		log = string(text)
	}
	times := map[string]int{}
	for _, line := range lines(t, log) {
		if line["message"] == "configuration" {
			times[fmt.Sprintf("%v: %v", line["key"], line["note"])]++
		}
		if line["level"] == "error" {
			t.Errorf("the log has an error: %v", line)
		}
	}
	for _, note := range noted {
		if times[note] != 1 {
			t.Errorf("the log has %d lines of %q", times[note], note)
		}
	}
	if len(times) != len(noted) {
		t.Errorf("the start notes %v, and zot verify %q", times, noted)
	}
	if built(m.config, "log.audit") {
		text, err := os.ReadFile(m.audit)
		if err != nil {
			t.Fatal(err)
		}
		log += string(text)
	}
	for _, text := range []string{printed, log} {
		if strings.Contains(text, "panic") {
			t.Errorf("something has panicked:\n%s", text)
		}
		for _, secret := range m.all() {
			if strings.Contains(text, secret) {
				t.Errorf("the log has the secret %q", secret)
			}
		}
	}
}

// all are the secrets, as they are and as clients send them.
func (m *moved) all() (all []string) {
	all = append(all, m.secrets...)
	for _, who := range m.people.known {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(who.name+":"+who.password)))
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// inBucket sees to it that each store that is in a bucket has something below its prefix.
func (m *moved) inBucket(t *testing.T) {
	t.Helper()
	for _, prefix := range m.prefixes {
		sums, err := filepath.Glob(m.bucket.Path(prefix + "/*/*.sums"))
		if err != nil {
			t.Fatal(err)
		}
		if len(sums) == 0 {
			t.Errorf("no layer is below %s in the bucket", prefix)
		}
	}
}
