package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// The same file in every format, under the names that tell the format and some that do not.
func TestFormats(t *testing.T) {
	t.Parallel()
	const json = `{"storage": {"rootDirectory": "/r", "gcDelay": "2h", "gc": "true"}, "http": {"port": 5000}, "cluster": {"members": ["zot-0:1"], "replicas": 2}}`
	const yaml = `
# comments are well here
storage: {rootdirectory: /r, GcDelay: 2h, gc: "true"}
http:
  port: 0x1388
log:
cluster:
  members:
    - zot-0:1
  replicas: 2.5
`
	const merged = `
ours: &ours {rootDirectory: /q, gcDelay: 2h}
storage: {<<: [*ours, {gcDelay: 1h}], rootDirectory: /r}
http: {port: 5_000}
cluster: {members: "zot-0:1", replicas: 2}
`
	const toml = `
# comments are well here
[storage]
rootDirectory = "/r"
gcDelay = "2h"
gc = true
[http]
port = 5000
[cluster]
members = ["zot-0:1"]
replicas = 2.0
`
	for name, content := range map[string]string{
		"config.json": json, "config.JSON": json, "config.yaml": yaml, "c.yml": yaml, "a.yaml": json, "config.toml": toml,
		"config": yaml, "noext": json, "toml": toml, "config.conf": json, "config.txt": toml, "b.yaml": yaml + "---\nstorage: {}\n",
		"merged.yml": strings.Replace(merged, "ours:", "commit:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := config.Parse(name, []byte(content), "zot-0")
			if err != nil {
				t.Fatal(err)
			}
			want := config.Default("zot-0")
			want.Storage.RootDirectory, want.Storage.GCDelay = "/r", 2*time.Hour
			want.HTTP.Port = "5000"
			want.Cluster.Members, want.Cluster.Advertise = []string{"zot-0:1"}, "zot-0:1"
			want.Cluster.BootstrapExpect, want.Cluster.Replicas, want.Cluster.WriteAcks = 1, 2, 2
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

func TestFormatProblems(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n"
	}
	for name, test := range map[string]struct{ file, content, want string }{
		"a list":               {"c.yaml", "- a\n", "not valid YAML: not keys and values"},
		"a word":               {"c", "zot", "not valid YAML: not keys and values"},
		"comments":             {"c.yaml", "# nothing\n", "no key:value pair"},
		"nothing":              {"c.yml", "---\n", "no key:value pair"},
		"no TOML keys":         {"c.toml", "# nothing\n", "no key:value pair"},
		"empty":                {"c.toml", " \n", "the file is empty"},
		"empty, of no format":  {"c", "", "the file is empty"},
		"tabs":                 {"c.yaml", "storage:\n\trootDirectory: /r\n", "not valid YAML: line 2: found character that cannot start any token"},
		"a section twice":      {"c.yaml", "http: {port: 1}\nlog: {}\nhttp: {}\n", `not valid YAML: line 3: "http" stands twice`},
		"a key that is a list": {"c.yaml", "? [a]\n: b\n", "not valid YAML: line 1: a key that is no text"},
		"no such anchor":       {"c.yaml", "a: *b\n", "unknown anchor 'b'"},
		"around itself":        {"c.yaml", "a: &a [*a]\n", "more than 64 objects and lists within each other"},
		"aliases to aliases":   {"c.yaml", bomb, "more than 10000 values"},
		"deep":                 {"c.yaml", strings.Repeat("{a: ", 70) + strings.Repeat("}", 70), "more than 64 objects and lists within each other"},
		"deep TOML":            {"c.toml", "a = " + strings.Repeat("[", 70) + strings.Repeat("]", 70), "more than 64 objects and lists within each other"},
		"no number":            {"c.yaml", "storage: {rootDirectory: /r}\ncluster: {replicas: .nan}\n", `cluster.replicas: ".nan" is no whole number`},
		"no TOML":              {"c.toml", "[storage]\nrootDirectory = /r\n", "not valid TOML: line 2: "},
		"two cases of TOML":    {"c.toml", "[storage]\nrootDirectory = \"/r\"\n[Storage]\ngc = true\n", "storage: stands twice"},
		"a date":               {"c.toml", "[storage]\nrootDirectory = \"/r\"\ngcDelay = 2023-07-07\n", "storage.gcDelay: \"2023-07-07"},
		"another format":       {"zot.ini", "[storage]\n", ".ini files are not read; write it as JSON, YAML or TOML"},
		"a comma too many":     {"c.json", "{\"storage\": {\"rootDirectory\": \"/r\",\n}}", "line 2, column 1: invalid character '}' looking for beginning of object key string; JSON has no comma before a brace"},
		"YAML that says JSON":  {"c.json", "storage: {}", "or name the file .yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := config.Parse(test.file, []byte(test.content), "zot-0"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
