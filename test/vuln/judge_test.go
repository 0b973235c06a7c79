package main

import (
	"strings"
	"testing"
)

// said is what govulncheck writes of one vulnerability that is called, one that is only imported, and one of a module.
const said = `{"config": {"go_version": "go1.2.3", "db": "file:///db"}}
{"progress": {"message": "Checking"}}
{"osv": {"id": "GO-1", "summary": "crash"}}
{"finding": {"osv": "GO-1", "fixed_version": "v1.2.4", "trace": [{"module": "stdlib", "version": "v1.2.3"}]}}
{"finding": {"osv": "GO-1", "fixed_version": "v1.2.4", "trace": [{"module": "stdlib", "version": "v1.2.3", "package": "net/http", "function": "Serve"}, {"module": "zot", "package": "zot", "function": "main"}]}}
{"osv": {"id": "GO-2", "summary": "other"}}
{"finding": {"osv": "GO-2", "trace": [{"module": "stdlib", "version": "v1.2.3", "package": "html/template"}]}}
`

const ofModule = `{"finding": {"osv": "GO-3", "trace": [{"module": "example.org/m", "version": "v1.0.0", "package": "m", "function": "F"}]}}`

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in, list  string
		wrong     bool
		out, fail string
	}{
		"accepted":            {said, "# why\n\nGO-1 not reached\n", false, "GO-1  crash\n    net/http@v1.2.3, mended in v1.2.4\n    not reached\n1 vulnerabilities are called, go1.2.3, by file:///db\n", ""},
		"not accepted":        {said, "", true, "NOT ACCEPTED: see https://pkg.go.dev/vuln/GO-1", "newer version"},
		"one too many":        {said, "GO-1 not reached\nGO-2 not called", false, "GO-2  need not be accepted any more\n", ""},
		"of a module":         {said + ofModule, "GO-1 not reached\nGO-3 no", true, "m@v1.0.0, mended in no version\n    NOT ACCEPTED", "newer version"},
		"nothing was checked": {"", "", true, "", "nothing was checked"},
		"broken off":          {said[:100], "", true, "", "read what govulncheck says"},
		"no reason":           {said, "GO-1", true, "", "is not an id and why"},
		"no id":               {said, "CVE-1 because", true, "", "is not an id and why"},
	} {
		out, err := judge(strings.NewReader(test.in), test.list)
		if (err != nil) != test.wrong || !strings.Contains(out, test.out) || test.wrong && !strings.Contains(err.Error(), test.fail) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
