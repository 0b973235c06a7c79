package config

import (
	"os"
	"path/filepath"
)

// Log says what is logged, and where to.
type Log struct {
	Level  string
	Output string // a file that is appended to; "" is standard output
	Audit  string // a file to which each request is appended that has changed something; "": none
}

func readLog(s *section, c *Log) {
	s.oneOf("level", &c.Level, "trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled")
	s.text("output", &c.Output)
	s.text("audit", &c.Audit)
}

// checkLogFiles looks for the places of what is not there yet.
func checkLogFiles(c *Log, r *reader) {
	for _, f := range []struct{ key, name string }{{"log.output", c.Output}, {"log.audit", c.Audit}} {
		if f.name == "" {
			continue
		}
		if info, err := os.Stat(f.name); err == nil && info.IsDir() {
			r.problem(f.key, "name a file", "%s is a directory", f.name)
		}
		if _, err := os.Stat(filepath.Dir(f.name)); err != nil {
			r.problem(f.key, "make its directory first", "%v", err)
		}
	}
}
