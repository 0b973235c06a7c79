package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxDepth is how deep the JSON of a manifest may be nested. Specified fields need five levels.
const maxDepth = 64

// role is what the specifications say of the place where a JSON value stands.
type role uint8

const (
	roleOther role = iota
	roleManifest
	roleDescriptor
	roleDescriptors // a list of descriptors
)

// names returns the keys that a value in the role may have by its specification.
func (r role) names() []string {
	switch r {
	case roleManifest:
		return []string{
			"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject",
			"annotations",
		}
	case roleDescriptor:
		return []string{"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"}
	case roleOther, roleDescriptors:
	}
	return nil
}

// required returns the keys that a value in the role must have.
func (r role) required() []string {
	if r == roleDescriptor {
		return []string{"mediaType", "digest", "size"}
	}
	return nil
}

// checkStructure refuses what parsers of JSON read differently, so that what we count is what every
// client sees: keys that occur twice, and keys that differ from a specified one only in case (Go takes
// them for the specified one, most others do not). It also refuses descriptors that lack a required
// key, before they cost memory. Body must be syntactically valid. It does not recurse.
func checkStructure(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // a number of any size is no business of ours in a field that we do not know
	var w walker
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return invalidJSON(err)
		}
		if err := w.take(token); err != nil {
			return err
		}
	}
}

// walker follows the tokens of one JSON value.
type walker struct {
	open []frame // the objects and lists that are open, outermost first
}

// frame is one open object or list.
type frame struct {
	role    role
	keys    map[string]struct{} // seen so far; nil for a list
	key     string              // of the value that follows, in an object
	hasKey  bool                // whether key was read, so that a value is next
	element int                 // number of the element that follows, in a list
}

// take handles the next token.
func (w *walker) take(token json.Token) error {
	if top := w.top(); top != nil && top.keys != nil && !top.hasKey {
		if key, ok := token.(string); ok {
			return w.takeKey(top, key)
		}
	}
	switch token {
	case json.Delim('{'):
		return w.push(frame{role: w.nextRole(), keys: map[string]struct{}{}})
	case json.Delim('['):
		if w.inDescriptors() {
			return w.notADescriptor()
		}
		return w.push(frame{role: w.nextRole()})
	case json.Delim('}'), json.Delim(']'):
		return w.pop()
	}
	if w.inDescriptors() { // null among them, which would decode into an empty descriptor
		return w.notADescriptor()
	}
	w.valueDone()
	return nil
}

// top returns the innermost open object or list, or nil.
func (w *walker) top() *frame {
	if len(w.open) == 0 {
		return nil
	}
	return &w.open[len(w.open)-1]
}

// takeKey handles a key of the object top.
func (w *walker) takeKey(top *frame, key string) error {
	if _, twice := top.keys[key]; twice {
		return invalid("%s: key %q occurs twice", w.place(), clip(key))
	}
	if names := top.role.names(); !slices.Contains(names, key) {
		for _, name := range names {
			if strings.EqualFold(name, key) {
				return invalid("%s: key %q must be spelled %q", w.place(), clip(key), name)
			}
		}
	}
	top.keys[key] = struct{}{}
	top.key, top.hasKey = key, true
	return nil
}

// nextRole returns the role of the value that follows.
func (w *walker) nextRole() role {
	top := w.top()
	switch {
	case top == nil:
		return roleManifest
	case top.role == roleDescriptors:
		return roleDescriptor
	case top.role == roleManifest && (top.key == "config" || top.key == "subject"):
		return roleDescriptor
	case top.role == roleManifest && (top.key == "layers" || top.key == "manifests"):
		return roleDescriptors
	default:
		return roleOther
	}
}

// inDescriptors reports whether the value that follows stands in a list of descriptors.
func (w *walker) inDescriptors() bool {
	top := w.top()
	return top != nil && top.role == roleDescriptors
}

func (w *walker) notADescriptor() error { return invalid("%s is not an object", w.place()) }

// push opens an object or list.
func (w *walker) push(f frame) error {
	if len(w.open) == maxDepth {
		return invalid("nested more than %d levels deep", maxDepth)
	}
	w.open = append(w.open, f)
	return nil
}

// pop closes the innermost object or list.
func (w *walker) pop() error {
	top := w.top()
	w.open = w.open[:len(w.open)-1]
	if top.keys != nil {
		for _, name := range top.role.required() {
			if _, ok := top.keys[name]; !ok {
				return invalid("%s: %s is missing", w.place(), name)
			}
		}
	}
	w.valueDone()
	return nil
}

// valueDone notes that a value has ended.
func (w *walker) valueDone() {
	if top := w.top(); top != nil {
		top.hasKey = false
		top.element++
	}
}

// place names where the walk is, such as layers[3], for whoever reads an error.
func (w *walker) place() string {
	var b strings.Builder
	for _, f := range w.open {
		switch {
		case f.keys == nil:
			fmt.Fprintf(&b, "[%d]", f.element)
		case f.hasKey:
			b.WriteString("." + clip(f.key))
		}
	}
	if b.Len() == 0 {
		return "manifest"
	}
	return strings.TrimPrefix(b.String(), ".")
}
