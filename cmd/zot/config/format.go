package config

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// smallest is what a file needs at least.
const smallest = `begin with {"storage": {"rootDirectory": "/var/lib/zot"}}`

// format is a way to write a file.
type format struct {
	name       string
	extensions []string
	decode     func(data []byte) (*object, error)
	mend       func(data []byte) string // what may be wrong with a file that cannot be decoded
}

// formats returns those that are read. Which one a file has its extension says, as for zot.
func formats() []format {
	nothing := func([]byte) string { return "" }
	return []format{
		{"JSON", []string{".json"}, decodeJSON, notJSON},
		{"YAML", []string{".yaml", ".yml"}, decodeYAML, nothing},
		{"TOML", []string{".toml"}, decodeTOML, nothing},
	}
}

// otherExtensions are of formats that zot reads besides.
func otherExtensions() []string {
	return []string{".properties", ".props", ".prop", ".hcl", ".tfvars", ".dotenv", ".env", ".ini"}
}

// decode reads a file of that name. Where the name does not tell the format, the content does.
func decode(name string, data []byte) (*object, Problems) {
	extension := strings.ToLower(filepath.Ext(name))
	for _, f := range formats() {
		if slices.Contains(f.extensions, extension) {
			return f.read(data)
		}
	}
	if slices.Contains(otherExtensions(), extension) {
		return nil, Problems{{Text: extension + " files are not read", Mend: "write it as JSON, YAML or TOML, in a file that is named so"}}
	}
	return sniff(data)
}

// sniff reads content of a format that nobody has named. TOML comes before YAML, to which one line of
// it is a text.
func sniff(data []byte) (*object, Problems) {
	all := formats()
	json, yaml, toml := all[0], all[1], all[2]
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return json.read(data)
	}
	if o, problems := toml.read(data); problems == nil {
		return o, nil
	}
	return yaml.read(data)
}

func (f format) read(data []byte) (*object, Problems) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, Problems{{Text: "the file is empty", Mend: smallest}}
	}
	o, err := f.decode(data)
	switch {
	case err != nil:
		return nil, Problems{{Text: "not valid " + f.name + ": " + err.Error(), Mend: f.mend(data)}}
	case len(o.members) == 0:
		return nil, Problems{{Text: "no key:value pair", Mend: smallest}}
	default:
		return o, nil
	}
}

// notJSON guesses why a file is not JSON.
func notJSON(data []byte) string {
	switch {
	case !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return smallest + ", or name the file .yaml or .toml if it is such a one"
	case bytes.Contains(data, []byte("//")) || bytes.Contains(data, []byte("#")):
		return "JSON has no comments"
	case regexp.MustCompile(`,\s*[}\]]`).Match(data):
		return "JSON has no comma before a brace or bracket that closes"
	default:
		return ""
	}
}
