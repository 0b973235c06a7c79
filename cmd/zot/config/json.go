package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// decodeJSON reads one JSON object and nothing behind it. It says in which line and column it fails.
func decodeJSON(data []byte) (*object, error) {
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
	if !ok {
		return token, nil
	}
	if err := tooDeep(depth); err != nil {
		return nil, err
	}
	if delim == '{' {
		return d.object(depth + 1)
	}
	return d.list(depth + 1) // '[': the decoder gives no closing one here
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
		o.add(fmt.Sprint(name), value)
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
