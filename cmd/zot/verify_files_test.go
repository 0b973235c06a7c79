package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// What `zot verify` prints of files that it rejects, and of those that it takes with something to say, whole: each has a
// file beside it that ends in .golden.
func TestVerifyFiles(t *testing.T) {
	t.Parallel()
	for folder, code := range map[string]int{"rejected": exitFailed, "noted": exitDone} {
		files, err := filepath.Glob("config/testdata/" + folder + "/*.[jy]*")
		if err != nil || len(files) < 10 {
			t.Fatalf("%d files in %s, %v", len(files), folder, err)
		}
		for _, file := range files {
			t.Run(strings.TrimPrefix(file, "config/testdata/"), func(t *testing.T) {
				t.Parallel()
				got := call("verify", file)
				if got.code != code {
					t.Errorf("exit code %d, want %d", got.code, code)
				}
				printed := strings.ReplaceAll(got.stdout+got.stderr, file, "FILE")
				golden(t, "../"+strings.TrimSuffix(file, filepath.Ext(file))+".golden", printed)
			})
		}
		known, err := filepath.Glob("config/testdata/" + folder + "/*.golden")
		if err != nil || len(known) != len(files) {
			t.Errorf("%s: %d golden files of %d, %v", folder, len(known), len(files), err)
		}
	}
}
