package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/jobs"
)

// readGCWindow reads when garbage may begin to be collected.
func readGCWindow(s *section, c *Store) {
	const key, mend = "gcTimeWindow", `write it as "22:00-06:00", in UTC, or leave it out for any time`
	text := ""
	if s.text(key, &text); text == "" {
		return
	}
	w, err := parseWindow(text)
	switch {
	case err != nil:
		s.problem(s.key(key), mend, "%v", err)
	case w == jobs.Window{}: // it would be any time
		s.problem(s.key(key), mend, "%q ends when it begins", text)
	default:
		c.GCWindow = w
	}
}

// parseWindow reads two times of the day. zot takes "8.30" and spaces as well.
func parseWindow(text string) (w jobs.Window, err error) {
	from, until, isTwo := strings.Cut(text, "-")
	if !isTwo {
		return w, fmt.Errorf("%q is not from one time to another", text)
	}
	if w.From, err = parseTimeOfDay(from); err != nil {
		return w, err
	}
	w.Until, err = parseTimeOfDay(until)
	if w.From == w.Until {
		w = jobs.Window{}
	}
	return w, err
}

func parseTimeOfDay(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	at, err := time.Parse("15:04", strings.Replace(text, ".", ":", 1))
	if err != nil {
		return 0, fmt.Errorf("%q is no time of the day", text)
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, nil
}
