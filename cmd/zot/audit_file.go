package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// auditFile is the file of who has changed what.
type auditFile struct {
	*logFile
	log hclog.Logger // where it is said that a line cannot be written

	mu   sync.Mutex
	lost int  // lines, since the last that was written
	torn bool // the last line has no end
}

// openAudit opens the file that a configuration names. The logger is nil if there is none; the caller closes the file in any case.
func openAudit(c config.Log, log hclog.Logger) (hclog.Logger, *auditFile, error) {
	if c.Audit == "" {
		return nil, &auditFile{logFile: &logFile{keptOpen: io.Discard}}, nil
	}
	file, err := openLogFile(c.Audit)
	if err != nil {
		return nil, nil, fmt.Errorf("open the audit (log.audit): %w", err)
	}
	a := &auditFile{logFile: file, log: log}
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: newRenamed(a), JSONFormat: true}), a, nil
}

// Write appends a line. A request does not fail because its line cannot be written: it has been done. That is said once,
// and how many lines are missing when one could be written again.
func (a *auditFile) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.append(line)
	if err != nil {
		if a.lost++; a.lost == 1 {
			a.log.Error("audit cannot be written: what clients change meanwhile is in no line", "file", a.name, "error", err)
		}
		return n, err
	}
	if a.lost > 0 {
		a.log.Warn("audit is written again", "file", a.name, "lines_missing", a.lost)
		a.lost = 0
	}
	return n, nil
}

func (a *auditFile) append(line []byte) (int, error) {
	if a.torn {
		if _, err := a.logFile.Write([]byte("\n")); err != nil {
			return 0, err
		}
		a.torn = false
	}
	n, err := a.logFile.Write(line)
	a.torn = n > 0 && n < len(line)
	return n, err
}

// reopen opens the file anew, which is a whole one.
func (a *auditFile) reopen() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.logFile.reopen()
	a.torn = a.torn && err != nil
	return err
}
