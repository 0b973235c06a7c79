package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxAliased bounds what aliases add to a file once each is replaced by what it stands for: a few lines
// of aliases to aliases are enough to fill the memory.
const maxAliased = 10_000

// decodeYAML reads the first document of a file, as zot does.
func decodeYAML(data []byte) (*object, error) {
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&document); errors.Is(err, io.EOF) {
		return &object{}, nil // comments alone
	} else if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	r := yamlReader{left: len(data) + maxAliased} // a value that is written takes a byte at least
	value, err := r.value(&document, 0)
	if err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case nil:
		return &object{}, nil
	case *object:
		return v, nil
	default:
		return nil, errors.New("not keys and values")
	}
}

// yamlReader turns nodes into values.
type yamlReader struct{ left int }

func (r *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	if r.left--; r.left < 0 {
		return nil, fmt.Errorf("line %d: aliases make more than %d values of the file", n.Line, maxAliased)
	}
	if err := tooDeep(depth); err != nil && n.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.value(n.Content[0], depth)
	case yaml.AliasNode:
		return r.value(n.Alias, depth)
	case yaml.SequenceNode:
		return r.list(n, depth+1)
	case yaml.MappingNode:
		return r.object(n, depth+1)
	default:
		return scalar(n)
	}
}

func (r *yamlReader) list(n *yaml.Node, depth int) (any, error) {
	all := []any{}
	for _, item := range n.Content {
		value, err := r.value(item, depth)
		if err != nil {
			return nil, err
		}
		if value != nil {
			all = append(all, value)
		}
	}
	return all, nil
}

// object reads keys and values. A key that stands twice is no valid YAML, and mostly a section that
// was pasted again.
func (r *yamlReader) object(n *yaml.Node, depth int) (any, error) {
	o, seen, merged := &object{}, map[string]bool{}, []*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, content := n.Content[i], n.Content[i+1]
		if name.ShortTag() == "!!merge" {
			merged = append(merged, content)
			continue
		}
		if name.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key that is no text", name.Line)
		}
		if seen[name.Value] {
			return nil, fmt.Errorf("line %d: %q stands twice", name.Line, name.Value)
		}
		value, err := r.value(content, depth)
		if err != nil {
			return nil, err
		}
		seen[name.Value] = true
		o.add(name.Value, value)
	}
	for _, content := range merged {
		value, err := r.value(content, depth)
		if err != nil {
			return nil, err
		}
		merge(o, seen, value)
	}
	return o, nil
}

// merge adds what "<<" names, a section or a list of them, below what stands there itself.
func merge(o *object, seen map[string]bool, value any) {
	switch v := value.(type) {
	case []any:
		for _, each := range v {
			merge(o, seen, each)
		}
	case *object:
		for _, m := range v.members {
			if !seen[m.name] {
				seen[m.name] = true
				o.add(m.name, m.value)
			}
		}
	}
}

// scalar reads a text, number or bool. Numbers are written as JSON has them: 0x10 is 16.
func scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
	default:
		return n.Value, nil
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return nil, fmt.Errorf("line %d: %s", n.Line, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch v := value.(type) {
	case nil, bool:
		return v, nil
	case float64:
		return finite(v, n.Value), nil
	default:
		return json.Number(fmt.Sprint(v)), nil
	}
}

// finite is a float as JSON has it, or how it was written if JSON has none.
func finite(f float64, written string) any {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return written
	}
	b, err := json.Marshal(f)
	if err != nil {
		return written
	}
	return json.Number(b)
}
