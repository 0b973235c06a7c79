package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// boolean sets into to the value of a key, if it is there. Words and numbers count, as for zot: 0 is
// false, and so is no word at all.
func (s *section) boolean(name string, into *bool) {
	s.record(name, aBoolean(*into))
	value, ok := s.take(name)
	if !ok {
		return
	}
	if b, ok := boolOf(value); ok {
		*into = b
		return
	}
	s.problem(s.key(name), "write true or false", "%s is neither true nor false", kindOf(value))
}

func boolOf(value any) (is, ok bool) {
	switch v := value.(type) {
	case bool:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f != 0, err == nil
	case string:
		if v == "" {
			return false, true
		}
		b, err := strconv.ParseBool(v)
		return b, err == nil
	default:
		return false, false
	}
}

// duration sets into to the value of a key, if it is there, unless it is below zero. A bare number
// counts nanoseconds, as for zot, where mostly seconds were meant.
func (s *section) duration(name string, into *time.Duration) {
	d := *into
	s.record(name, aDuration(d, false))
	if s.readDuration(name, &d); d < 0 {
		s.problem(s.key(name), "give 0 or more", "%s is below zero", d)
		return
	}
	*into = d
}

// anyDuration is duration for what may be below zero.
func (s *section) anyDuration(name string, into *time.Duration) {
	s.record(name, aDuration(*into, true))
	s.readDuration(name, into)
}

func (s *section) readDuration(name string, into *time.Duration) {
	value, ok := s.take(name)
	if !ok {
		return
	}
	d, err := durationOf(value)
	if err != nil {
		s.problem(s.key(name), mendDuration(value), "%v", err)
		return
	}
	*into = d
	if _, bare := value.(json.Number); bare && d < time.Second && d > 0 {
		s.note(s.key(name), `is %s: a number without a unit counts nanoseconds; write "%[1]s" in quotes if that is meant, or "%ds"`, d, int64(d))
	}
}

func durationOf(value any) (time.Duration, error) {
	switch v := value.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil || f >= 1<<63 || f < -1<<63 {
			return 0, fmt.Errorf("%s nanoseconds are too many", v)
		}
		return time.Duration(f), nil
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration", v)
		}
		return d, nil
	default:
		return 0, errors.New(kindOf(value) + " is no duration")
	}
}

// mendDuration guesses what was meant by what is no duration.
func mendDuration(value any) string {
	text, _ := value.(string)
	if n, err := strconv.Atoi(text); err == nil {
		return fmt.Sprintf(`write it with a unit, as "%ds"`, n)
	}
	for unit, hours := range map[string]int{"d": 24, "w": 7 * 24} {
		count, ok := strings.CutSuffix(text, unit)
		if n, err := strconv.Atoi(count); ok && err == nil {
			return fmt.Sprintf(`write it in hours, as "%dh"`, n*hours)
		}
	}
	return `write it as "1h30m" or "300s"`
}
