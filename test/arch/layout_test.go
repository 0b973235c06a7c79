package arch_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// topLevel returns what may stand at the top of the repository (DESIGN 1).
func topLevel() []string {
	return []string{
		"cmd", "cluster", "fsm", "api", "blobstore", "auth", "jobs", "deploy", "test", "Makefile", "go.mod",
		// What every repository has.
		"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "go.sum", ".ci", ".gitignore", ".golangci.yml",
	}
}

// misplaced returns a line for each file that stands where none may.
func misplaced(files []string) []string {
	var found []string
	for _, file := range files {
		parts := strings.Split(file, "/")
		if !slices.Contains(topLevel(), parts[0]) {
			found = append(found, file+": the top level is fixed (DESIGN 1)")
		}
		if parts[0] == "deploy" && path.Ext(file) == ".go" {
			found = append(found, file+": deploy holds no Go")
		}
		for _, folder := range parts[:len(parts)-1] {
			if slices.Contains([]string{"internal", "pkg", "util", "utils", "common", "helpers", "misc"}, folder) {
				found = append(found, file+": a folder called "+folder+" says nothing of what is in it (DESIGN 1)")
			}
		}
	}
	return found
}

func TestLayout(t *testing.T) {
	t.Parallel()
	// What git ignores may lie about; what is not yet committed is judged like the rest.
	out := run(t, root(t), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	files := strings.Split(strings.TrimRight(out, "\x00"), "\x00")
	if len(files) < 2 {
		t.Fatal("git names no files: this test would pass whatever is wrong")
	}
	for _, line := range misplaced(files) {
		t.Error(line)
	}
}

// The test itself must be able to fail.
func TestMisplacedFilesAreSeen(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]int{
		"fsm/put_manifest.go":  0,
		"README.md":            0,
		"deploy/Dockerfile":    0,
		"deploy/run.go":        1,
		"pkg/x.go":             2,
		"main.go":              1,
		"fsm/internal/x.go":    1,
		"fsm/internal_test.go": 0,
	} {
		if found := misplaced([]string{file}); len(found) != want {
			t.Errorf("%s: found %q, want %d", file, found, want)
		}
	}
}
