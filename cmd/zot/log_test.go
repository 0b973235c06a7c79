package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func TestLogToAFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "zot.log")
	for range 2 { // the second time it is appended to
		log, closer, err := openLog(config.Log{Level: "info", Output: name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("not this")
		log.Info("this", "bytes", 3)
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	var last map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 2 || last["@message"] != "this" || last["bytes"] != 3.0 {
		t.Errorf("%d lines, the last is %v, %v", len(lines), last, err)
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
