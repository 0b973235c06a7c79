package config_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func TestSchema(t *testing.T) {
	t.Parallel()
	got, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.golden", string(got)+"\n")
}

// compiled is the schema as editors use it. Compiling it checks it against that of schemas.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("zot.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("zot.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// contents is a file as an editor reads it.
func contents(t *testing.T, name string, data []byte) any {
	t.Helper()
	var content any
	var err error
	if filepath.Ext(name) == ".json" {
		content, err = jsonschema.UnmarshalJSON(bytes.NewReader(data))
	} else {
		err = yaml.Unmarshal(data, &content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// What loads is well for the schema, too.
func TestSchemaOfFilesThatLoad(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	var files []string
	for _, pattern := range []string{"test/testdata/zot-examples/config-*.*", "deploy/*/*.json"} {
		found, err := filepath.Glob("../../../" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	noted, err := filepath.Glob("testdata/noted/*.[jy]*")
	if err != nil || len(noted) == 0 {
		t.Fatalf("%d files, %v", len(noted), err)
	}
	for _, file := range append(files, noted...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(contents(t, file, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, file := range map[string]string{
		"weak types": minimal(`, "http": {"port": 5000, "auth": {"failDelay": "5", "apikey": "true"}, "accessControl": {"repositories": {"**": {"anonymousPolicy": "read", "policies": {"users": "a,b", "actions": ["read"]}}}}},
			"cluster": {"members": "zot-0:1", "replicas": 2.5, "quotas": {"": 12, "team": "1.5 TB", "b": "10kb"}}, "log": {"level": "Info"}`),
		"durations":        minimalStorage(`"gcDelay": 3600000000000, "gcInterval": "1h30m.5s", "gc": 1, "commit": ""`),
		"null":             minimal(`, "http": {"tls": null, "port": null}, "log": null, "extensions": {"search": {"cve": null}, "sync": {"registries": [{"urls": ["u", null]}]}}`),
		"keys in any case": `{"$schema": "zot-schema.json", "STORAGE": {"rootdirectory": "/x"}, "storage": {"ROOTDIRECTORY": "/x"}}`,
		"limits":           minimal(`, "http": {"readTimeout": "-1s", "writeTimeout": -1, "compat": "docker2s2"}`),
		"patterns beside the section of patterns": minimal(`, "http": {"accessControl": {"a/**": {"anonymousPolicy": ["read"]}}}`),
		"keys of a driver":                        minimalStorage(`"storageDriver": {"name": "S3", "region": "r", "bucket": "b", "any": 1}, "subPaths": {"/a": {"storageDriver": {"name": "s3", "any": 2}}}`),
	} {
		if err := s.Validate(contents(t, ".json", []byte(file))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The reader and the schema reject the same slips.
func TestSchemaOfSlips(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	rejected, err := filepath.Glob("testdata/rejected/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	unknown := 0
	for _, name := range rejected {
		said, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(said, []byte("unknown key")) {
			continue
		}
		unknown++
		for _, extension := range []string{".json", ".yaml"} {
			file := strings.TrimSuffix(name, ".golden") + extension
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(contents(t, file, data)); err == nil {
				t.Errorf("the schema takes %s", file)
			}
		}
	}
	if unknown < 5 {
		t.Errorf("%d files with unknown keys", unknown)
	}
	for _, file := range []string{
		minimal(`, "storag": {}`), minimal(`, "http": {"foo": 1}`), minimal(`, "http": {"tls": {"certificate": "c"}}`),
		minimal(`, "http": 5000`), minimal(`, "http": {"port": {}}`), minimal(`, "http": {"auth": {"ldap": {"bind": 1}}}`),
		minimal(`, "http": {"accessControl": {"repositories": {"**": {"policies": [{"user": ["a"]}]}}}}`),
		minimal(`, "http": {"accessControl": {"**": {"policies": {"user": ["a"]}}}}`),
		minimal(`, "cluster": {"replicas": true}`), minimal(`, "cluster": {"reads": "avail"}`), minimal(`, "cluster": {"quotas": {"a": "12 parsecs"}}`),
		minimal(`, "log": {"level": "warning"}`),
		minimal(`, "extensions": {"sync": {"registries": [{"content": [{"tags": {"regexp": ""}}]}]}}`),
		minimal(`, "extensions": {"sync": {"registries": {"url": "u"}}}`), minimal(`, "extensions": {"lint": {"enabled": true}}`),
		minimalStorage(`"gcDelay": "1d"`), minimalStorage(`"gcDelay": "300"`), minimalStorage(`"gcDelay": "-1s"`), minimalStorage(`"gc": "perhaps"`),
		minimalStorage(`"subPaths": {"/a": {"gcDelai": "1h"}}`), minimalStorage(`"subPaths": {"/a": {"subPaths": {}}}`),
		minimalStorage(`"retention": {"policies": [{"keepTags": [{"pattern": []}]}]}`),
	} {
		if _, _, err := config.Parse("c.json", []byte(file), "zot-0"); err == nil {
			t.Errorf("loads: %s", file)
		}
		if err := s.Validate(contents(t, ".json", []byte(file))); err == nil {
			t.Errorf("the schema takes %s", file)
		}
	}
}
