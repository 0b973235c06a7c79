package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/seed-16d79997/zot"

// pkg is one package of the module, test files left out.
type pkg struct {
	folder string   // relative to the module
	ours   []string // folders of the module that it imports
	others []string // import paths of everything else that it imports
}

// root returns the module's folder.
func root(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(run(t, "", "go", "list", "-m", "-f", "{{.Dir}}"))
}

// run returns what a command prints.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// list returns all packages of the module. It takes those that do not build, too: their imports are
// no less wrong for that.
func list(t *testing.T) []pkg {
	t.Helper()
	out := run(t, root(t), "go", "list", "-e", "-json=ImportPath,Imports", "./...")
	dec := json.NewDecoder(strings.NewReader(out))
	var packages []pkg
	for {
		var listed struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&listed); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p := pkg{folder: strings.TrimPrefix(listed.ImportPath, module+"/")}
		for _, path := range listed.Imports {
			if folder, ok := strings.CutPrefix(path, module+"/"); ok {
				p.ours = append(p.ours, folder)
			} else {
				p.others = append(p.others, path)
			}
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list names no package: this test would pass whatever is wrong")
	}
	return packages
}
