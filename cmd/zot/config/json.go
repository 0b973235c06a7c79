package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxDepth is how deep a file may nest. Real ones come to eight.
const maxDepth = 64

// object is a JSON object with its keys as they were spelled, in the order of the file. A value is an
// *object, a []any, a string, a json.Number or a bool; a key whose value is null is left out, as zot
// does.
type object struct {
	members []member
}

type member struct {
	name  string
	value any
}

// decode reads one JSON object and nothing behind it. It says in which line and column it fails.
func decode(data []byte) (*object, error) {
	d := decoder{json.NewDecoder(bytes.NewReader(data))}
	d.UseNumber()
	value, err := d.value(0)
	if errors.Is(err, io.EOF) {
		err = errors.New("the file ends early")
	}
	if err == nil {
		if _, behind := d.Token(); !errors.Is(behind, io.EOF) {
			err = errors.New("text after the closing brace")
		}
	}
	if err != nil {
		line, column := position(data, d.offset(err))
		return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	o, ok := value.(*object)
	if !ok {
		return nil, errors.New("not an object")
	}
	return o, nil
}

type decoder struct{ *json.Decoder }

func (d decoder) offset(err error) int64 {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset > 0 {
		return syntax.Offset
	}
	return d.InputOffset()
}

func (d decoder) value(depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	switch {
	case !ok:
		return token, nil
	case depth == maxDepth:
		return nil, fmt.Errorf("more than %d objects and lists within each other", maxDepth)
	case delim == '{':
		return d.object(depth + 1)
	default: // '[': the decoder gives no closing one here
		return d.list(depth + 1)
	}
}

func (d decoder) object(depth int) (*object, error) {
	o := &object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		if value != nil {
			o.members = append(o.members, member{fmt.Sprint(name), value})
		}
	}
	_, err := d.Token()
	return o, err
}

func (d decoder) list(depth int) ([]any, error) {
	all := []any{}
	for d.More() {
		value, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		if value != nil {
			all = append(all, value)
		}
	}
	_, err := d.Token()
	return all, err
}

// position is the line and column of the byte before an offset, both from 1.
func position(data []byte, offset int64) (line, column int) {
	before := data[:min(max(offset, 0), int64(len(data)))]
	line = 1 + bytes.Count(before, []byte("\n"))
	column = len(before) - bytes.LastIndexByte(before, '\n') - 1
	return line, max(column, 1)
}
