// Package examples_test serves each file of zot's examples with the built binary: `make examples` runs it.
//
// What such a file names lies on machines of others. The test has places of its own for all of it: directories, ports,
// certificates, a bucket and tables, OpenLDAP with the users that the file speaks of, files of passwords, an issuer. It
// changes nothing else: what a file says of who may do what holds. Start reading at TestExamples; moved_test.go is what is
// changed.
package examples_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// folder has zot's examples.
const folder = "../testdata/zot-examples"

// notBuilt are the sections of zot that this version does not act on: both `zot verify` and the start of a node say so, of
// these and no others. Who builds one takes it out here; the test then looks for what it does.
func notBuilt() []string {
	return []string{
		"extensions.lint",
		"extensions.metrics",
		"extensions.search",
		"extensions.sync",
		"extensions.ui",
	}
}

// built reports whether an example has a section that is acted on.
func built(e section, path string) bool {
	return e.at(strings.Split(path, ".")...) != nil && !slices.Contains(notBuilt(), path)
}

func TestExamples(t *testing.T) {
	harness.Program(t, "ZOT")                // nothing is made for a test that will be skipped
	t.Setenv("AWS_ACCESS_KEY_ID", "tester")  // an example has none for its tables
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any") // likewise
	layout := images.NewLayout(t)            // what is pushed
	layer := layout.Layer(1, 300<<10)        // large enough for sums of its chunks
	layout.Tag("one", layout.Image(linux(), layer))
	served, inBuckets := 0, 0
	var texts, others []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path) == "README.md" {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if filepath.Ext(name) == ".cfg" {
			t.Run(name, func(t *testing.T) { balances(t, path, layout) })
			return nil
		}
		example := parse(text)
		if example == nil {
			others = append(others, name)
			return nil
		}
		served, texts = served+1, append(texts, string(text))
		if strings.Contains(string(text), "storageDriver") {
			inBuckets++
		}
		t.Run(name, func(t *testing.T) { serves(t, example, filepath.Ext(name), layout) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range others { // what is no configuration is named by one, with which it was served
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "/"+name+`"`) }) {
			t.Errorf("%s is no configuration, and none names it: nothing says how it is used", name)
		}
	}
	if served < 24 || inBuckets < 2 {
		t.Errorf("%d examples are served, and %d have a bucket: some are missing", served, inBuckets)
	}
}

// parse reads a configuration; nil for what is none.
func parse(text []byte) section {
	var c map[string]any
	if err := yaml.Unmarshal(text, &c); err != nil || section(c).at("storage") == nil { // JSON is YAML, too
		return nil
	}
	return c
}

// balances sends an image through HAProxy, to three nodes.
func balances(t *testing.T, file string, layout *images.Layout) {
	t.Helper()
	nodes := harness.Start(t, 3)
	balancer := harness.Balance(t, file, nodes...)
	for range nodes {
		pushes(t, layout, balancer.Address+"/library/image:1", visitor{})
		pulls(t, layout, balancer.Address+"/library/image:1", visitor{})
	}
	balancer.EveryServer(t, nodes)
}

// serves runs a node with an example, pushes and pulls as each of those who may, and looks at what the node says.
func serves(t *testing.T, example section, format string, layout *images.Layout) {
	t.Helper()
	m := move(t, example)
	n, noted := m.start(t, format)
	_, closed := example.at("http", "auth").(map[string]any)
	want := http.StatusOK
	if closed {
		want = http.StatusUnauthorized
	}
	greets(t, n, visitor{}, want)
	wrong := m.guess(t, n)
	for _, who := range m.visitors(t, closed) {
		for _, repository := range m.repositories {
			name := n.Address + "/" + repository + ":1"
			pushes(t, layout, name, who)
			pulls(t, layout, name, who)
		}
	}
	m.inBucket(t)
	m.acts(t, n)
	wrong(t)
	m.says(t, n, noted)
}
