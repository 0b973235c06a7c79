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
	Default any       `json:"default,omitempty"` // nil: nothing that could be written

	unbuilt bool // it is not acted on

	Items      *schema            `json:"items,omitempty"`
	Properties map[string]*schema `json:"properties,omitempty"`
	// InAnyCase lets the keys of Properties be spelled otherwise; of what they hold then nothing is said.
	InAnyCase map[string]bool `json:"patternProperties,omitempty"`
	Others    any             `json:"additionalProperties,omitempty"` // *schema or false; nil: anything

	Kinds map[string]*schema `json:"$defs,omitempty"` // what is referred to
}

// Schema returns a JSON Schema of the configuration file, for editors, made by the procedures that read a file: it knows
// each key that they ask for, and what they take. It says less than they do: not how keys depend on each other, nor
// which are needed.
func Schema() ([]byte, error) {
	root := recordFile()
	describe("", root)
	root.Kinds = kinds()
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

// recordUnbuilt notes that a key is not acted on, if the section is a recording.
func (s *section) recordUnbuilt(name string) {
	if s.schema != nil {
		s.schema.schema.Properties[name].unbuilt = true
	}
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

// kinds are what keys hold: what is meant first, then what counts as that, too.
func kinds() map[string]*schema {
	words := []any{"", "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"} // strconv.ParseBool
	const some, units = `([0-9]+([.][0-9]*)?|[.][0-9]+)`, "(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
	return map[string]*schema{
		"text":    {Type: []string{"string", "number", "null"}},
		"number":  {AnyOf: []*schema{{Type: []string{"number", "null"}}, {Type: []string{"string"}, Pattern: "^[+-]?[0-9]+$"}}},
		"boolean": {AnyOf: []*schema{{Type: []string{"boolean", "number", "null"}}, {Enum: words}}},
		"duration": {AnyOf: []*schema{
			{Type: []string{"string"}, Pattern: "^[+]?(0|(" + some + units + ")+)$"}, {Type: []string{"number", "null"}, Minimum: new(0)},
		}},
		"durationOfAnySign": {AnyOf: []*schema{{Type: []string{"string"}, Pattern: "^[+-]?(0|(" + some + units + ")+)$"}, {Type: []string{"number", "null"}}}},
		"size": {AnyOf: []*schema{
			{Type: []string{"string"}, Pattern: "^[+]?" + some + " *([kKmMgGtTpP][iI]?)?[bB]?$"}, {Type: []string{"number", "null"}, Minimum: new(1)},
		}},
		"list": {AnyOf: []*schema{{Type: []string{"array", "null"}, Items: aText("")}, {Type: []string{"string"}}}},
	}
}

// a is one of the kinds.
func a(kind string) *schema { return &schema{Ref: "#/$defs/" + kind} }

// or sets what holds without the key.
func (c *schema) or(usual any, says bool) *schema {
	if says {
		c.Default = usual
	}
	return c
}

func aText(usual string) *schema { return a("text").or(usual, usual != "") }

func aNumber(usual int) *schema { return a("number").or(usual, usual != 0) }

func aBoolean(usual bool) *schema { return a("boolean").or(usual, true) }

func aList(usual []string) *schema { return a("list").or(usual, len(usual) > 0) }

// aSize is a number of bytes.
func aSize() *schema { return a("size") }

func aDuration(usual time.Duration, belowZero bool) *schema {
	kind := "duration"
	if belowZero {
		kind = "durationOfAnySign"
	}
	return a(kind).or(usual.String(), usual != 0)
}

// aWord is one of some words. The pattern lets them be in any case.
func aWord(usual string, words []string) *schema {
	s := &schema{AnyOf: []*schema{{}, {Type: []string{"string", "null"}}}}
	var spelled []string
	for _, word := range words {
		s.AnyOf[0].Enum = append(s.AnyOf[0].Enum, word)
		spelled = append(spelled, inAnyCase(word))
	}
	s.AnyOf[1].Pattern = "^(" + strings.Join(spelled, "|") + ")?$"
	return s.or(usual, usual != "")
}

// describe sets the descriptions of all that is below a path.
func describe(path string, s *schema) {
	for name, at := range s.Properties {
		at.describe(strings.TrimPrefix(path+"."+name, "."))
	}
	if others, ok := s.Others.(*schema); ok && !others.saysNothing() {
		others.describe(path + "." + sample)
	}
	for _, one := range s.AnyOf {
		if one.Items != nil {
			describe(path, one.Items)
		}
	}
}

func (c *schema) describe(path string) {
	c.Description = description(path)
	if c.unbuilt {
		c.Description += "; this version does not act on it yet"
	}
	describe(path, c)
}
