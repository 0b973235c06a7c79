package examples_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

func linux() ocispec.Platform { return ocispec.Platform{OS: "linux", Architecture: "amd64"} }

// pushes has skopeo push an image.
func pushes(t *testing.T, layout *images.Layout, name string, who visitor) {
	t.Helper()
	arguments := append([]string{"--insecure-policy", "copy", "--preserve-digests"}, who.arguments(t, "dest-")...)
	harness.Run(t, "skopeo", append(arguments, "oci:"+layout.Dir+":one", "docker://"+name)...)
}

// pulls has it pull the image again.
func pulls(t *testing.T, layout *images.Layout, name string, who visitor) {
	t.Helper()
	dir := t.TempDir()
	arguments := append([]string{"--insecure-policy", "copy", "--preserve-digests"}, who.arguments(t, "src-")...)
	harness.Run(t, "skopeo", append(arguments, "docker://"+name, "oci:"+dir+":one")...)
	if got, want := images.Digests(t, dir), images.Digests(t, layout.Dir); !maps.Equal(got, want) {
		t.Errorf("%s: %v came, want %v", name, got, want)
	}
}

// arguments tell skopeo who asks.
func (v visitor) arguments(t *testing.T, end string) []string {
	t.Helper()
	all := []string{"--" + end + "tls-verify=false"}
	if v.with != nil && v.with.authority != nil {
		dir := t.TempDir()
		files := map[string]string{"ca.crt": v.with.authority.File}
		if v.with.shows != (harness.Pair{}) {
			files["client.cert"], files["client.key"] = v.with.shows.Cert, v.with.shows.Key
		}
		for name, file := range files {
			if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		all = []string{"--" + end + "cert-dir", dir}
	}
	switch {
	case v.token != "":
		return append(all, "--"+end+"registry-token", v.token)
	case v.name != "":
		return append(all, "--"+end+"creds", v.name+":"+v.password)
	}
	return append(all, "--"+end+"no-creds")
}

// visits is a request of somebody.
func visits(t *testing.T, n *harness.Node, path string, who visitor) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL(path), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case who.token != "":
		r.Header.Set("Authorization", "Bearer "+who.token)
	case who.name != "":
		r.SetBasicAuth(who.name, who.password)
	}
	return r
}

// asks sends a request, hands the answer to look, and fails if it has another status than the wanted one. It follows no
// redirection.
func asks(n *harness.Node, r *http.Request, status int, look func(*http.Response) error) error {
	client := *n.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != status {
		return fmt.Errorf("%s: %s, want %d: %.300s", r.URL, answer.Status, status, body)
	}
	if look != nil {
		return look(answer)
	}
	return nil
}

// greets asks for the base endpoint. Who is to say who they are is told how.
func greets(t *testing.T, n *harness.Node, who visitor, status int) {
	t.Helper()
	err := asks(n, visits(t, n, "/v2/", who), status, func(r *http.Response) error {
		if told := r.Header.Get("WWW-Authenticate") != ""; status == http.StatusUnauthorized && !told {
			return errors.New("401 does not say how to log in")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// lines are those of a log, each of which is JSON. The last may be half written.
func lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("a line of the log is no JSON: %v: %.300s", err, line)
		}
		all = append(all, l)
	}
	return all
}
