package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// message is one of those that govulncheck writes, as far as it is of interest here.
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
		DB        string `json:"db"`
	} `json:"config"`
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *finding `json:"finding"`
}

type finding struct {
	OSV   string  `json:"osv"`
	Fixed string  `json:"fixed_version"` // "": nowhere yet
	Trace []frame `json:"trace"`         // what is vulnerable comes first, and who calls it last
}

type frame struct {
	Module   string `json:"module"`
	Version  string `json:"version"`
	Package  string `json:"package"`
	Function string `json:"function"` // "": only what it is in is imported
}

// called reports whether the code calls it, as far as anybody can tell without running it.
func (f finding) called() bool { return len(f.Trace) > 0 && f.Trace[0].Function != "" }

const standardLibrary = "stdlib"

var errUnaccepted = errors.New("the code calls what is vulnerable: take a newer version of the module, or of Go")

// judge says what there is to know of each vulnerability that is called. It fails with errUnaccepted, and says so all the same,
// or if the input or the list is not as it should be.
func judge(in io.Reader, list string) (string, error) {
	accepted, err := parse(list)
	if err != nil {
		return "", err
	}
	checked, summaries, found := "", map[string]string{}, map[string]finding{}
	for messages := json.NewDecoder(in); ; {
		var m message
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("read what govulncheck says: %w", err)
		}
		switch {
		case m.Config != nil:
			checked = m.Config.GoVersion + ", by " + m.Config.DB
		case m.OSV != nil:
			summaries[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && m.Finding.called():
			found[m.Finding.OSV] = *m.Finding
		}
	}
	if checked == "" {
		return "", errors.New("nothing was checked: govulncheck says why above; its database, or the code, could not be read")
	}
	var out strings.Builder
	unaccepted := false
	for _, id := range slices.Sorted(maps.Keys(found)) {
		f, why := found[id], accepted[id]
		if f.Trace[0].Module != standardLibrary {
			why = ""
		}
		unaccepted = unaccepted || why == ""
		fmt.Fprintf(&out, "%s  %s\n    %s@%s, mended in %s\n    %s\n", id, summaries[id], f.Trace[0].Package, f.Trace[0].Version,
			cmp.Or(f.Fixed, "no version"), cmp.Or(why, "NOT ACCEPTED: see https://pkg.go.dev/vuln/"+id))
	}
	for _, id := range slices.Sorted(maps.Keys(accepted)) {
		if _, is := found[id]; !is {
			fmt.Fprintf(&out, "%s  need not be accepted any more\n", id)
		}
	}
	fmt.Fprintf(&out, "%d vulnerabilities are called, %s\n", len(found), checked)
	if unaccepted {
		return out.String(), errUnaccepted
	}
	return out.String(), nil
}

// parse reads a list: an id and why it is accepted on each line, and comments.
func parse(list string) (map[string]string, error) {
	all := map[string]string{}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, why, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(id, "GO-") || strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("%q is not an id and why it is accepted", line)
		}
		all[id] = strings.TrimSpace(why)
	}
	return all, nil
}
