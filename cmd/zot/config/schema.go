package config

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// schema is a JSON Schema of what a key may hold, in draft 2020-12. It has no more than the file needs.
type schema struct {
	Draft       string `json:"$schema,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`

	Type    []string  `json:"type,omitempty"`
	Enum    []any     `json:"enum,omitempty"`
	Pattern string    `json:"pattern,omitempty"`
	Minimum *int      `json:"minimum,omitempty"`
	AnyOf   []*schema `json:"anyOf,omitempty"`
	Ref     string    `json:"$ref,omitempty"`
	Default any       `json:"default,omitempty"`

	Items      *schema            `json:"items,omitempty"`
	Properties map[string]*schema `json:"properties,omitempty"`
	// InAnyCase lets the keys of Properties be spelled otherwise; of what they hold then nothing is said.
	InAnyCase map[string]bool `json:"patternProperties,omitempty"`
	Others    any             `json:"additionalProperties,omitempty"` // *schema or false; nil: anything
}

// Schema returns a JSON Schema of the configuration file, for editors, made by the procedures that read a file: it knows
// each key that they ask for, and what they take. It says less than they do: not how keys depend on each other, nor
// which are needed.
func Schema() ([]byte, error) {
	root := recordFile()
	describe("", root)
	root.Draft, root.Title = "https://json-schema.org/draft/2020-12/schema", "zot's configuration file"
	return json.MarshalIndent(root, "", "  ")
}

// recordFile is what is asked for of a file.
func recordFile() *schema {
	c := Default("")
	root := &recording{schema: aSection(), at: "#"}
	s := root.section(&reader{}, "")
	readFile(s, &c)
	root.end()
	return root.schema
}

// recording is what is asked for of a section.
type recording struct {
	schema *schema
	at     string // the JSON pointer to it
}

// sample is a key of which nothing is known, in each section that is recorded. Who goes through the keys of a section by
// himself, for they are names, comes upon it, and what he asks for holds for all of them.
const sample = "*"

func (r *recording) section(in *reader, path string) *section {
	return &section{reader: in, path: path, object: &object{members: []member{{sample, &object{}}}}, schema: r}
}

// end closes the section: what was not asked for is not allowed.
func (r *recording) end() {
	if len(r.schema.Properties) > 0 {
		var spelled []string
		for _, name := range slices.Sorted(maps.Keys(r.schema.Properties)) {
			spelled = append(spelled, inAnyCase(name))
		}
		r.schema.InAnyCase = map[string]bool{"^(" + strings.Join(spelled, "|") + ")$": true}
	}
	if r.schema.Others == nil {
		r.schema.Others = false
	}
}

// inAnyCase is a pattern of a word. Those of JSON Schema have no flags.
func inAnyCase(word string) string {
	var b strings.Builder
	for _, c := range word {
		if low, up := strings.ToLower(string(c)), strings.ToUpper(string(c)); low != up {
			b.WriteString("[" + low + up + "]")
		} else {
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return b.String()
}

// record notes what a key may hold, if the section is a recording. The last word on a key counts, but for one that
// says nothing.
func (s *section) record(name string, is *schema) {
	if s.schema == nil {
		return
	}
	at := s.schema.schema
	said := at.Properties[name]
	if name == sample {
		said, _ = at.Others.(*schema)
	}
	switch {
	case said != nil && is.saysNothing():
	case name == sample:
		at.Others = is
	default:
		at.Properties[name] = is
	}
}

func (c *schema) saysNothing() bool {
	return c.Type == nil && c.Enum == nil && c.AnyOf == nil && c.Ref == ""
}

// recordSection is section, if the section is a recording.
func (s *section) recordSection(name string, read func(*section)) bool {
	if s.schema == nil {
		return false
	}
	inner := &recording{schema: aSection(), at: s.schema.below(name)}
	s.record(name, inner.schema)
	inner.read(s, name, read)
	return true
}

// recordSections is sections, if the section is a recording.
func (s *section) recordSections(name string, read func(*section)) bool {
	if s.schema == nil {
		return false
	}
	inner := &recording{schema: aSection(), at: s.schema.below(name) + "/anyOf/0/items"}
	s.record(name, &schema{AnyOf: []*schema{{Type: []string{"array", "null"}, Items: inner.schema}, {Ref: inner.at}}})
	inner.read(s, name, read)
	return true
}

func (r *recording) read(above *section, name string, read func(*section)) {
	above.known = append(above.known, name)
	read(r.section(above.reader, above.key(name)))
	r.end()
}

// below is the JSON pointer to a key.
func (r *recording) below(name string) string {
	if name == sample {
		return r.at + "/additionalProperties"
	}
	return r.at + "/properties/" + name
}

func anything() *schema { return &schema{} }

func aSection() *schema {
	return &schema{Type: []string{"object", "null"}, Properties: map[string]*schema{}}
}

func aText(usual string) *schema {
	s := &schema{Type: []string{"string", "number", "null"}}
	if usual != "" {
		s.Default = usual
	}
	return s
}

// aWord is one of some words. The second pattern lets it be in any case.
func aWord(usual string, words []string) *schema {
	s := &schema{AnyOf: []*schema{{}, {Type: []string{"string", "null"}}}}
	var spelled []string
	for _, word := range words {
		s.AnyOf[0].Enum = append(s.AnyOf[0].Enum, word)
		spelled = append(spelled, inAnyCase(word))
	}
	s.AnyOf[1].Pattern = "^(" + strings.Join(spelled, "|") + ")?$"
	if usual != "" {
		s.Default = usual
	}
	return s
}

func aNumber(usual int) *schema {
	s := &schema{AnyOf: []*schema{{Type: []string{"number", "null"}}, {Type: []string{"string"}, Pattern: "^[+-]?[0-9]+$"}}}
	if usual != 0 {
		s.Default = usual
	}
	return s
}

func aBoolean(usual bool) *schema {
	words := []any{"", "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"} // strconv.ParseBool
	return &schema{AnyOf: []*schema{{Type: []string{"boolean", "number", "null"}}, {Enum: words}}, Default: usual}
}

func aDuration(usual time.Duration, belowZero bool) *schema {
	number, text := &schema{Type: []string{"number", "null"}}, &schema{Type: []string{"string"}}
	sign := "[+-]?"
	if !belowZero {
		number.Minimum, sign = new(0), "[+]?"
	}
	const some = `([0-9]+([.][0-9]*)?|[.][0-9]+)`
	text.Pattern = "^" + sign + "(0|(" + some + "(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$"
	s := &schema{AnyOf: []*schema{text, number}}
	if usual != 0 {
		s.Default = usual.String()
	}
	return s
}

// aSize is a number of bytes.
func aSize() *schema {
	return &schema{AnyOf: []*schema{
		{Type: []string{"string"}, Pattern: "^[+]?[0-9]*[.]?[0-9]+ *([kKmMgGtTpP][iI]?)?[bB]?$"}, {Type: []string{"number", "null"}, Minimum: new(1)},
	}}
}

func aList(usual []string) *schema {
	s := &schema{AnyOf: []*schema{{Type: []string{"array", "null"}, Items: aText("")}, {Type: []string{"string"}}}}
	if len(usual) > 0 {
		s.Default = usual
	}
	return s
}

// describe sets the descriptions of all that is below a path.
func describe(path string, s *schema) {
	for name, at := range s.Properties {
		below := strings.TrimPrefix(path+"."+name, ".")
		at.Description = description(below)
		describe(below, at)
	}
	if others, ok := s.Others.(*schema); ok {
		others.Description = description(path + "." + sample)
		describe(path+"."+sample, others)
	}
	for _, one := range s.AnyOf {
		if one.Items != nil {
			describe(path, one.Items)
		}
	}
}
