package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// tries pushes a blob through a node, once there is a quorum, and returns the status and what was said.
func (p *process) tries(repository, text string) (status int, said string) {
	insist(p.t, func() bool {
		status, said = p.try(repository, text)
		return status != http.StatusServiceUnavailable
	})
	return status, said
}

func (p *process) try(repository, text string) (status int, said string) {
	url := fmt.Sprintf("http://127.0.0.1:%s/v2/%s/blobs/uploads/?digest=sha256:%x", p.port, repository, sha256.Sum256([]byte(text)))
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, url, strings.NewReader(text))
	if err != nil {
		return 0, err.Error()
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := once.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

// expects pushes a blob, and fails the test unless the answer is this one.
func (p *process) expects(status int, words, repository, text string) {
	p.t.Helper()
	if code, said := p.tries(repository, text); code != status || !strings.Contains(said, words) {
		p.t.Errorf("%s: a push to %s: %d %s, want %d %q", p.name, repository, code, said, status, words)
	}
}

// shown fails the test unless the status for people has a line.
func (p *process) shown(line string) {
	p.t.Helper()
	if got := p.zot("status"); got.code != exitDone || !strings.Contains(got.stdout, line) {
		p.t.Errorf("%s: %+v, want %q", p.name, got, line)
	}
}

// Three nodes keep the limits of their files, and a registry that is read-only stays so whoever leads.
func TestServeLimits(t *testing.T) {
	t.Parallel()
	all := threeNodes(t)
	for _, p := range all {
		file, err := os.ReadFile(p.file)
		if err != nil {
			t.Fatal(err)
		}
		limited := strings.Replace(string(file), `"cluster": {`, `"cluster": {"quotas": {"team": "1MiB"}, `, 1)
		put(t, p.file, strings.Replace(limited, `"storage": {`, `"storage": {"maxRepos": 3, `, 1))
	}
	restart(all)
	for _, p := range all {
		eventually(t, p.name+" knows the limits", func() bool { return len(p.status().Usage.Quotas) == 1 })
	}

	// Each fits alone, and no two do.
	codes, words := make([]int, len(all)), make([]string, len(all))
	var pushes sync.WaitGroup
	for i, p := range all {
		pushes.Go(func() { codes[i], words[i] = p.tries("team/app", strings.Repeat(p.name, 600<<10/len(p.name))) })
	}
	pushes.Wait()
	taken := 0
	for i, code := range codes {
		switch {
		case code == http.StatusCreated:
			taken++
		case code != http.StatusForbidden || !strings.Contains(words[i], `"DENIED","message":"quota exceeded: the quota of team is 1 MiB, `):
			t.Errorf("%s: %d %s", all[i].name, code, words[i])
		}
	}
	if taken != 1 {
		t.Errorf("%d of the racing pushes were taken", taken)
	}
	all[1].expects(http.StatusForbidden, "quota of team", "team/other", strings.Repeat("x", 600<<10))
	for _, name := range []string{"one", "two"} {
		all[2].expects(http.StatusCreated, "", name, "layer")
	}
	all[0].expects(http.StatusTooManyRequests, "the registry has 3 repositories and may have 3", "three", "layer")
	all[0].shown("repositories: 3 of 3, with 600.0 KiB\nquota of team: 600.0 KiB of 1.0 MiB (59 %)\n")

	// As the operator of any node wants it.
	leader, others := named(all, all[0].whole().Leader)
	if got := others[0].zot("read-only", "on", "--reason", "the disks are changed"); got.code != exitDone || !strings.Contains(got.stdout, "read-only") {
		t.Fatalf("%+v", got)
	}
	for _, p := range all {
		p.expects(http.StatusMethodNotAllowed, `"UNSUPPORTED","message":"registry is read-only: the disks are changed; pulls go on"`, "one", "another")
		if code, _ := answers(t.Context(), p.port, "/readyz"); code != http.StatusOK {
			t.Errorf("%s answers no pulls: %d", p.name, code)
		}
		if code, said := answers(t.Context(), p.port, "/readyz?for=write"); code != http.StatusServiceUnavailable || !strings.Contains(said, "the disks are changed") {
			t.Errorf("%s is ready for pushes: %d %s", p.name, code, said)
		}
	}
	others[0].shown("READ-ONLY since ")
	leader.end(syscall.SIGKILL)
	eventually(t, "another leads", func() bool {
		s := others[0].status()
		return s.Leader != "" && s.Leader != leader.name
	})
	for _, p := range others {
		p.expects(http.StatusMethodNotAllowed, "the disks are changed", "one", "another")
	}
	sent(t, http.MethodGet, "http://127.0.0.1:"+others[1].port+fmt.Sprintf("/v2/one/blobs/sha256:%x", sha256.Sum256([]byte("layer"))), "", http.StatusOK)
	if got := others[1].zot("read-only", "off"); got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	others[0].expects(http.StatusCreated, "", "one", "another")
	others[0].expects(http.StatusForbidden, "quota of team", "team/app", strings.Repeat("x", 600<<10))
	leader.start()
	leader.ready("/readyz?for=write")
	leader.whole()
	leader.finds(nil)
	for _, args := range [][]string{{"read-only"}, {"read-only", "maybe"}, {"read-only", "off", "--reason", "why"}} {
		if got := leader.zot(args...); got.code != exitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
