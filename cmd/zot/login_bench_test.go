package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// headsInTurn is how many requests are sent with a login, and then without one, before it is the others' turn again: what
// else slows the machine slows both.
const headsInTurn = 100

// BenchmarkHeadManifestWithALogin compares HEAD of a manifest with an htpasswd login, of the cost that people are advised
// to have, to a node with rules, with one to a node that asks nobody who they are. It prints both, as the median of the
// turns, and their ratio.
func BenchmarkHeadManifestWithALogin(b *testing.B) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), 12)
	if err != nil {
		b.Fatal(err)
	}
	passwords := filepath.Join(b.TempDir(), "htpasswd")
	put(b, passwords, "alice:"+string(hash), "")
	open := benchNode(b, "")
	closed := benchNode(b, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}, "accessControl": {"repositories": {
		"**": {"defaultPolicy": ["read"]}, "team/**": {"policies": [{"users": ["alice"], "actions": ["read", "create"]}]}}}`, passwords))
	var without, with []time.Duration
	for b.Loop() {
		without = append(without, heads(b, open, "")...)
		with = append(with, heads(b, closed, "secret")...)
	}
	slices.Sort(without)
	slices.Sort(with)
	middle := func(all []time.Duration) float64 { return float64(all[len(all)/2].Nanoseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(without), "without-µs")
	b.ReportMetric(middle(with), "with-µs")
	b.ReportMetric(middle(with)/middle(without), "ratio")
}

// benchNode is a node alone with an image, team/app:1.
func benchNode(b *testing.B, http string) (at string) {
	b.Helper()
	port := freePorts(b, 1)[0]
	file := configIn(b, shortDir(b), fmt.Sprintf(`, "http": {"port": %q%s}`, port, http))
	started(b, file)
	operator, err := newClient(file)
	if err != nil {
		b.Fatal(err)
	}
	defer operator.http.CloseIdleConnections()
	const config = "config"
	prepare(b, operator, "POST", "/v2/team/app/blobs/uploads/?digest="+digestOf([]byte(config)), config)
	prepare(b, operator, "PUT", "/v2/team/app/manifests/1", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[]}`,
		typeImage, digestOf([]byte(config)), len(config)))
	return "http://127.0.0.1:" + port
}

// prepare sends something as the operator of a node.
func prepare(b *testing.B, operator *client, method, path, body string) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, "http://zot"+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	answer, err := operator.http.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusCreated {
		b.Fatalf("%s %s: %s, %v", method, path, answer.Status, err)
	}
}

// heads is how long each of some requests takes.
func heads(b *testing.B, at, password string) (took []time.Duration) {
	b.Helper()
	for range headsInTurn {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodHead, at+"/v2/team/app/manifests/1", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth("alice", password)
		}
		began := time.Now()
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
			b.Fatalf("%s, %v", answer.Status, err)
		}
	}
	return took
}
