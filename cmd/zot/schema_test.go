package main

import (
	"os"
	"strings"
	"testing"
)

func TestSchemaCommand(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("config/testdata/schema.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := call("schema"); got != (called{exitDone, string(want), ""}) {
		t.Errorf("%d %s, printed %d bytes", got.code, got.stderr, len(got.stdout))
	}
	if got := call("schema", "file"); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
	if got := call("schema", "--help"); got.code != exitDone || !strings.Contains(got.stdout, `"$schema": "./zot.schema.json"`) {
		t.Errorf("%+v", got)
	}
}
