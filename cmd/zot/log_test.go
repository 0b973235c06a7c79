package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// linesIn are the lines of a file, as programs read them. One that is being written is none yet.
func linesIn(t *testing.T, name string) (all []map[string]any) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

func TestLogToAFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "zot.log")
	for range 2 { // the second time it is appended to
		log, file, err := openLog(config.Log{Level: "info", Output: name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("not this")
		log.Info("this", "bytes", 3)
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	if all := linesIn(t, name); len(all) != 2 || all[1]["message"] != "this" || all[1]["bytes"] != 3.0 {
		t.Errorf("%v", all)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, _, err := openLog(config.Log{Output: "/nowhere/zot.log"}, nil); err == nil || !strings.Contains(err.Error(), "log.output") {
		t.Errorf("a log that cannot be opened is %v", err)
	}
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]hclog.Level{
		"trace": hclog.Trace, "debug": hclog.Debug, "info": hclog.Info, "warn": hclog.Warn, "error": hclog.Error,
		"fatal": hclog.Error, "panic": hclog.Error, "disabled": hclog.Off,
	} {
		var out bytes.Buffer
		log, _, err := openLog(config.Log{Level: word}, &out)
		if err != nil || log.GetLevel() != want {
			t.Errorf("%s is %v, want %v: %v", word, log.GetLevel(), want, err)
		}
	}
}

// A line has zot's names, and whatever is in it is once in it.
func TestNamesInLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, _, err := openLog(config.Log{Level: "debug"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	const tricky = "quote \" brace } comma ,\"time\": \\\"@level\\\":\n\\"
	for name, one := range map[string]struct {
		say  func()
		want map[string]any
	}{
		"module":     {func() { log.Named("fsm").Named("x").Warn("said", "term", 3) }, map[string]any{"module": "fsm.x", "level": "warn", "message": "said", "term": 3.0}},
		"no module":  {func() { log.Error("said") }, map[string]any{"level": "error", "message": "said", "module": nil}},
		"text":       {func() { log.Info(tricky, "why", tricky) }, map[string]any{"message": tricky, "why": tricky, "level": "info"}},
		"same names": {func() { log.Info("said", "time", 1, "level", 2, "message", 3, "caller", 4, "module", 5) }, map[string]any{"fields.time": 1.0, "fields.level": 2.0, "fields.message": 3.0, "fields.caller": 4.0, "fields.module": 5.0, "message": "said"}},
		"not JSON":   {func() { log.Info("said", "channel", make(chan int)) }, map[string]any{"message": "said"}},
	} {
		out.Reset()
		one.say()
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %s: %v", name, &out, err)
		}
		for key, want := range one.want {
			if got[key] != want {
				t.Errorf("%s: %s is %v, want %v", name, key, got[key], want)
			}
		}
		caller, _ := got["caller"].(string)
		if stamp, _ := got["time"].(string); !strings.Contains(stamp, "T") || name != "not JSON" && !strings.Contains(caller, "cmd/zot/log_test.go:") {
			t.Errorf("%s: time %q, caller %q", name, stamp, caller)
		}
	}
}

// What rotates logs moves the files away: the next line goes into a new one, and none is lost.
func TestLogsAreOpenedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := config.Log{Level: "info", Output: filepath.Join(dir, "log"), Audit: filepath.Join(dir, "audit")}
	log, file, err := openLog(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it is only looked at
	audit, auditFile, err := openAudit(c, log)
	if err != nil {
		t.Fatal(err)
	}
	defer auditFile.Close() //nolint:errcheck // as above
	say := func(text string) { log.Info(text); audit.Info(text) }
	say("first")
	for _, name := range []string{c.Output, c.Audit} {
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
	}
	say("second")
	all := reopener{file, auditFile}
	all.reopen(log)
	say("third")
	for _, name := range []string{c.Output, c.Audit} {
		before, after := linesIn(t, name+".1"), linesIn(t, name)
		if len(before) != 2 || before[1]["message"] != "second" || len(after) != 1 || after[0]["message"] != "third" {
			t.Errorf("%s: %v, %v", name, before, after)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if err := os.Remove(c.Audit); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.Audit, 0o700); err != nil {
		t.Fatal(err)
	}
	all.reopen(log)
	say("fourth")
	if after := linesIn(t, c.Output); len(after) != 3 || after[1]["level"] != "error" || after[2]["message"] != "fourth" {
		t.Errorf("%v", after)
	}
}

// An audit that cannot be written is worth one line in the log, and how much is missing is another. A line that was written
// in part does not swallow the next.
func TestAuditThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	log, file, err := openLog(config.Log{Level: "info", Output: name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it is only looked at
	disk := &fullDisk{}
	a := &auditFile{logFile: &logFile{keptOpen: disk, name: "audit"}, log: log}
	audit := hclog.New(&hclog.LoggerOptions{Output: newRenamed(a), JSONFormat: true})
	audit.Info("first")
	disk.full = true
	for range 3 {
		audit.Info("lost")
	}
	disk.full = false
	audit.Info("last")
	said := linesIn(t, name)
	if len(said) != 2 || said[0]["level"] != "error" || said[0]["error"] != errFull.Error() || said[1]["lines_missing"] != 3.0 {
		t.Errorf("%v", said)
	}
	texts := strings.Split(disk.String(), "\n")
	if len(texts) != 4 || !strings.Contains(texts[0], "first") || !strings.Contains(texts[2], `"message":"last"`) || texts[2][0] != '{' {
		t.Errorf("%q", texts)
	}
}

var errFull = errors.New("no space left on device")

// fullDisk takes half of a line when it is full, and then nothing.
type fullDisk struct {
	bytes.Buffer
	full, half bool
}

func (d *fullDisk) Write(line []byte) (int, error) {
	switch {
	case !d.full:
		return d.Buffer.Write(line)
	case d.half:
		return 0, errFull
	}
	d.half = true
	n, _ := d.Buffer.Write(line[:len(line)/2])
	return n, errFull
}

func TestOpenAudit(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "", "/dev/null": "", "/nowhere/audit": "log.audit"} {
		log, file, err := openAudit(config.Log{Audit: name}, hclog.NewNullLogger())
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		if err != nil || (log == nil) != (name == "") {
			t.Errorf("%q: %v, %v", name, log, err)
			continue
		}
		if log != nil {
			log.Info("said")
		}
		if err := errors.Join(file.reopen(), file.Close()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// BenchmarkRenamed is what zot's names cost in a line.
func BenchmarkRenamed(b *testing.B) {
	for name, out := range map[string]io.Writer{"hclog's": io.Discard, "zot's": newRenamed(io.Discard)} {
		b.Run(name, func(b *testing.B) {
			log := hclog.New(&hclog.LoggerOptions{Name: "http", Output: out, JSONFormat: true, IncludeLocation: true})
			b.ReportAllocs()
			for b.Loop() {
				log.Info("HTTP API", "method", "GET", "path", "/v2/", "statusCode", 200, "latency", "1.2ms", "bodySize", 3, "username", "alice")
			}
		})
	}
}
