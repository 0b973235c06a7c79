package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/BurntSushi/toml"
)

// decodeTOML reads a file, whose keys come in the order of the alphabet.
func decodeTOML(data []byte) (*object, error) {
	var all map[string]any
	if _, err := toml.Decode(string(data), &all); err != nil {
		if parse, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
		}
		return nil, err
	}
	return tomlObject(all, 0)
}

func tomlObject(all map[string]any, depth int) (*object, error) {
	if err := tooDeep(depth); err != nil {
		return nil, err
	}
	o := &object{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value, err := tomlValue(all[name], depth+1)
		if err != nil {
			return nil, err
		}
		o.add(name, value)
	}
	return o, nil
}

func tomlValue(value any, depth int) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		return tomlObject(v, depth)
	case []map[string]any:
		return tomlList(v, depth)
	case []any:
		return tomlList(v, depth)
	case float64:
		return finite(v, fmt.Sprint(v)), nil
	case int64:
		return json.Number(fmt.Sprint(v)), nil
	case bool:
		return v, nil
	default: // a text, or a date, which no key takes
		return fmt.Sprint(v), nil
	}
}

func tomlList[T any](list []T, depth int) (any, error) {
	if err := tooDeep(depth); err != nil {
		return nil, err
	}
	all := make([]any, 0, len(list))
	for _, item := range list {
		value, err := tomlValue(item, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, value)
	}
	return all, nil
}
