package main

import (
	"net"
	"os"
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

// A node that starts says the same of sections that are not built as `zot verify`: one line each, whatever is in them.
func TestServeSaysWhatIsNotBuilt(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test is over
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	notBuilt, err := os.ReadFile("config/testdata/noted/not-built.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	put(t, file, strings.Replace(strings.Replace(string(notBuilt), "/var/lib/zot", dir, 1), "{", `{"http": {"port": "`+port+`"}, `, 1))
	got := call("serve", file) // it cannot have the port, and ends
	said, err := os.ReadFile("config/testdata/noted/not-built.golden")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count(string(said), "does not act on yet"); got.code != exitFailed || want < 5 || strings.Count(got.stdout, "does not act on yet") != want || strings.Count(got.stdout, `"key":"`) != want {
		t.Errorf("%d of %d lines in %+v", strings.Count(got.stdout, "does not act on yet"), want, got)
	}
}
