package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// openLog makes the logger of the process: a JSON object a line. The caller closes it, last.
func openLog(c config.Log, stdout io.Writer) (hclog.Logger, *logFile, error) {
	file := &logFile{keptOpen: stdout}
	if c.Output != "" {
		var err error
		if file, err = openLogFile(c.Output); err != nil {
			return nil, nil, fmt.Errorf("open the log (log.output): %w", err)
		}
	}
	return hclog.New(&hclog.LoggerOptions{Level: levelOf(c.Level), Output: newRenamed(file), JSONFormat: true, IncludeLocation: true}), file, nil
}

// levelOf is zot's word for a level as hclog's; what hclog does not tell apart is an error.
func levelOf(word string) hclog.Level {
	switch word {
	case "fatal", "panic":
		return hclog.Error
	case "disabled":
		return hclog.Off
	default:
		return hclog.LevelFromString(word)
	}
}

// logFile is a file that lines are appended to. What rotates logs moves it away, and has it opened again.
type logFile struct {
	keptOpen io.Writer // in place of a file: somebody else's to close

	mu   sync.Mutex
	name string
	file *os.File
}

// openLogFile opens a file that its owner alone may read. A device that is there already will do, as /dev/null.
func openLogFile(name string) (*logFile, error) {
	l := &logFile{name: name}
	return l, l.reopen()
}

// Write appends a line.
func (l *logFile) Write(line []byte) (int, error) {
	if l.keptOpen != nil {
		return l.keptOpen.Write(line)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(line)
}

// reopen opens the file of that name, which may be another one by now. If it fails it goes on with the old one.
func (l *logFile) reopen() error {
	if l.keptOpen != nil {
		return nil
	}
	file, err := os.OpenFile(l.name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.file
	if l.file = file; before != nil {
		return before.Close()
	}
	return nil
}

// Close closes the file.
func (l *logFile) Close() error {
	if l.keptOpen != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// renamed passes lines of hclog on with zot's names in them, by which people look for things in their logs.
type renamed struct {
	to    io.Writer
	names []renaming
	taken []renaming
	buf   []byte // hclog writes one line at a time
}

type renaming struct{ from, to []byte }

// newRenamed returns a writer for whole lines, one at a time.
func newRenamed(to io.Writer) *renamed {
	r := &renamed{to: to}
	add := func(all *[]renaming, from, to string) { *all = append(*all, renaming{[]byte(from), []byte(to)}) }
	for from, to := range map[string]string{"@timestamp": "time", "@level": "level", "@message": "message", "@module": "module", "@caller": "caller"} {
		add(&r.names, `"`+from+`":`, `"`+to+`":`)
		add(&r.taken, `,"`+to+`":`, `,"fields.`+to+`":`) // what a line says under the same name: nobody could tell them apart
	}
	return r
}

// Write passes a line on. hclog sorts the names in it, so its own come first. In a text, quotes are escaped.
func (r *renamed) Write(line []byte) (int, error) {
	rest := line
	r.buf = r.buf[:0]
	for len(rest) > 2 && rest[1] == '"' && rest[2] == '@' { // behind "{" or ","
		r.buf = append(r.buf, rest[0])
		rest = rest[1:]
		for _, n := range r.names {
			if after, is := bytes.CutPrefix(rest, n.from); is {
				r.buf, rest = append(r.buf, n.to...), after
				break
			}
		}
		end := endOfText(rest)
		r.buf, rest = append(r.buf, rest[:end]...), rest[end:]
	}
	for _, n := range r.taken {
		if bytes.Contains(rest, n.from) {
			rest = bytes.ReplaceAll(rest, n.from, n.to)
		}
	}
	r.buf = append(r.buf, rest...)
	if _, err := r.to.Write(r.buf); err != nil {
		return 0, err
	}
	return len(line), nil
}

// endOfText is where the text ends that a line begins with, in bytes.
func endOfText(line []byte) int {
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(line)
}

// reopener are files that are opened again when what rotates logs has moved them away.
type reopener []interface{ reopen() error }

// reopen opens them all, and says what it could not.
func (all reopener) reopen(log hclog.Logger) {
	var failed error
	for _, one := range all {
		failed = errors.Join(failed, one.reopen())
	}
	if failed != nil {
		log.Error("a log is not opened again, it goes on in the old file", "error", failed)
	}
}
