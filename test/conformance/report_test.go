package conformance_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	shown   = 5    // failed checks that a test shows; the report has all
	excerpt = 6000 // bytes of each one's requests and answers
)

// check is one check of the program, as its report for machines has it.
type check struct {
	Name      string `xml:"name,attr"`
	Status    string `xml:"status,attr"`
	Errors    string `xml:"system-out"`
	Exchanges string `xml:"system-err"` // the requests and their answers
}

// failures reads a report, and returns what is wrong with the first checks that failed: what was asked,
// what was answered, and what should have been.
func failures(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var report struct {
		Suites []struct {
			Checks []check `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		return "", err
	}
	var out strings.Builder
	count, failed := 0, 0
	for _, suite := range report.Suites {
		for _, c := range suite.Checks {
			count++
			if c.Status == "passed" || c.Status == "skipped" {
				continue
			}
			if failed++; failed <= shown {
				fmt.Fprintf(&out, "%s: %s\n%s\n%s\n\n", c.Name, c.Status, indent(c.Errors), indent(c.Exchanges))
			}
		}
	}
	if count == 0 {
		return "", fmt.Errorf("%s has no checks", file)
	}
	if failed > 0 {
		fmt.Fprintf(&out, "%d of %d checks failed", failed, count)
	}
	return out.String(), nil
}

// indent makes a block of a text, whose middle is left out if it is long: the first request and the last
// answer tell most.
func indent(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > excerpt {
		text = text[:excerpt/2] + "\n[...]\n" + text[len(text)-excerpt/2:]
	}
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		report string
		want   []string
		fails  bool
	}{
		"nothing failed": {
			report: `<testsuites><testsuite><testcase name="ping" status="passed"></testcase><testcase name="push" status="skipped"></testcase></testsuite></testsuites>`,
		},
		"one failed": {
			report: `<testsuites><testsuite><testcase name="ping" status="passed"></testcase><testcase name="push" status="failure">` +
				`<system-out>status 500</system-out><system-err>PUT /v2/&#xA;500 Internal</system-err></testcase></testsuite></testsuites>`,
			want: []string{"push: failure\n    status 500\n    PUT /v2/\n    500 Internal\n", "1 of 2 checks failed"},
		},
		"the program was at fault": {
			report: `<testsuites><testsuite><testcase name="ping" status="error"></testcase></testsuite></testsuites>`,
			want:   []string{"ping: error", "1 of 1 checks failed"},
		},
		"many failed": {
			report: `<testsuites><testsuite>` + strings.Repeat(`<testcase name="push" status="failure"></testcase>`, 9) + `</testsuite></testsuites>`,
			want:   []string{strings.Repeat("push: failure\n    \n    \n\n", shown) + "9 of 9 checks failed"},
		},
		"nothing was checked": {report: `<testsuites></testsuites>`, fails: true},
		"no report":           {report: `Conformance Result`, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "junit.xml")
			if err := os.WriteFile(file, []byte(test.report), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := failures(file)
			if (err != nil) != test.fails || len(test.want) == 0 && got != "" {
				t.Fatalf("%q, %v", got, err)
			}
			for _, part := range test.want {
				if !strings.Contains(got, part) {
					t.Errorf("got\n%s\nwithout\n%s", got, part)
				}
			}
		})
	}
}
