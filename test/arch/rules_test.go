package arch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unproved returns a line for each rule of the design that the table of docs/gc-rules.md has no test for, and for each test in
// it that does not exist; tests has all that exist, by the folder that they are in.
func unproved(rules []string, table string, tests map[string]bool) (found []string) {
	known, folder := map[string]bool{}, ""
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		named := false
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1) {
			if !strings.HasPrefix(name[1], "Test") {
				folder = name[1]
				continue
			}
			named = true
			if !tests[folder+" "+name[1]] {
				found = append(found, fmt.Sprintf("there is no %s in %s", name[1], folder))
			}
		}
		known[strings.TrimSpace(cells[1])] = known[strings.TrimSpace(cells[1])] || named
	}
	for _, rule := range rules {
		if !known[rule] {
			found = append(found, "no test is named for rule "+rule)
		}
	}
	return found
}

func TestEveryRuleHasATest(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join(root(t), path))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var rules []string
	for _, rule := range regexp.MustCompile(`(?m)^([TR][0-9]+)\. `).FindAllStringSubmatch(read("docs/design/gc.md"), -1) {
		rules = append(rules, rule[1])
	}
	if len(rules) < 20 {
		t.Fatalf("the rules are %q: this test would pass whatever is wrong", rules)
	}
	tests := map[string]bool{}
	for file := range strings.FieldsSeq(run(t, root(t), "git", "ls-files", "--cached", "--others", "--exclude-standard", "*_test.go")) {
		for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(read(file), -1) {
			tests[filepath.Dir(file)+" "+name[1]] = true
		}
	}
	table, _, _ := strings.Cut(read("docs/gc-rules.md"), "\n## ")
	for _, line := range unproved(rules, table, tests) {
		t.Error(line)
	}
}

// The test itself must be able to fail.
func TestUnprovedRulesAreSeen(t *testing.T) {
	t.Parallel()
	table := "| R1 | a race | `fsm` `TestOne`, `TestTwo`; `api` `TestOne` |\n| R2 | another | none |\n"
	found := unproved([]string{"R1", "R2", "R3"}, table, map[string]bool{"fsm TestOne": true, "fsm TestTwo": true})
	if len(found) != 3 {
		t.Errorf("found %q", found)
	}
}
