package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// What is pulled while nodes scrub and repair, and how.
const (
	layers     = 2560
	layerSize  = 2 << 20
	pullEvery  = 25 * time.Millisecond // one pull begins, whether those before have ended or not
	rounds     = 4
	measureFor = 20 * time.Second
	warmUpFor  = 2 * time.Second
)

// BenchmarkPullsWhileNodesScrubAndRepair measures the p99 of pulls from two of three nodes: of the built binary,
// which ZOT names, with nothing else to do, and while these hash all their copies as fast as they may, and the
// third node, whose disk was lost, gets copies of everything from them. Both in turn, several times, so that
// what else slows the machine slows both.
//
// All nodes share one machine here, so that the work of each slows the others. Run it once: -benchtime 1x.
func BenchmarkPullsWhileNodesScrubAndRepair(b *testing.B) {
	binary := os.Getenv("ZOT")
	if binary == "" {
		b.Skip("ZOT does not say where the program is: make build, then ZOT=bin/zot")
	}
	for range b.N {
		c := newBuilt(b, binary)
		c.start(b, 3)
		c.fill(b)
		c.stop(b)
		check(b, os.RemoveAll(c.roots[2]))
		var quiet, busy []time.Duration
		var repaired int
		for range rounds {
			c.scrubbed(b, time.Now())
			c.start(b, 2)
			quiet = append(quiet, c.measure(b)...)
			c.stop(b)
			took, made := c.measureBusy(b)
			busy, repaired = append(busy, took...), repaired+made
		}
		b.ReportMetric(float64(repaired)*layerSize/(rounds*measureFor).Seconds()/(1<<20), "repaired-MiB/s")
		b.ReportMetric(milliseconds(p99(b, "quiet", quiet)), "p99-quiet-ms")
		b.ReportMetric(milliseconds(p99(b, "busy", busy)), "p99-busy-ms")
		b.ReportMetric(float64(p99(b, "", busy))/float64(p99(b, "", quiet)), "p99-ratio")
	}
}

// measureBusy measures while two nodes scrub, and the third is given copies: it says how many.
func (c *built) measureBusy(b *testing.B) (took []time.Duration, made int) {
	b.Helper()
	had := c.copies(b, 2)
	c.scrubbed(b, time.Time{})
	c.start(b, 3)
	stop := c.load(b) // at once: without clients, there would soon be nothing left to do
	eventually(b, "copies are made", func() bool { return c.copies(b, 2) > had })
	stop()
	had = c.copies(b, 2)
	took = c.measure(b)
	made = c.copies(b, 2)
	if made >= layers {
		b.Errorf("all %d copies were made before the end", made)
	}
	for n := range 2 {
		if !c.scrubs(b, n) {
			b.Errorf("node %d had hashed all before the end", n)
		}
	}
	c.stop(b)
	return took, made - had
}

// p99 is how long the pulls took, but for the slowest of a hundred.
func p99(b *testing.B, which string, took []time.Duration) time.Duration {
	b.Helper()
	slices.Sort(took)
	if which != "" {
		b.Logf("%s: %d pulls: p50 %s, p90 %s, p99 %s, the slowest %s", which, len(took), took[len(took)/2], took[len(took)*9/10], took[len(took)*99/100], took[len(took)-1])
	}
	return took[len(took)*99/100]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// built is a cluster of three, as built.
type built struct {
	binary       string
	roots, files []string
	urls         []string
	all          []*process
	names        []string // of the layers
}

func newBuilt(b *testing.B, binary string) *built {
	b.Helper()
	dir := b.TempDir()
	c := &built{binary: binary}
	secret := filepath.Join(dir, "secret")
	check(b, os.WriteFile(secret, []byte(strings.Repeat("secret", 8)), 0o600))
	var members []string
	for range 3 {
		members = append(members, freeAddress(b))
	}
	list, err := json.Marshal(members)
	check(b, err)
	for n, member := range members {
		root, address := filepath.Join(dir, fmt.Sprint(n)), freeAddress(b)
		host, port, err := net.SplitHostPort(address)
		check(b, err)
		file := root + ".json"
		check(b, os.WriteFile(file, fmt.Appendf(nil, `{"storage": {"rootDirectory": %q}, "http": {"address": %q, "port": %q}, "log": {"level": "disabled"},
			"cluster": {"node": "n%d", "listen": %q, "advertise": %[5]q, "members": %s, "secretFile": %q}}`,
			root, host, port, n, member, list, secret), 0o600))
		c.roots, c.files, c.urls = append(c.roots, root), append(c.files, file), append(c.urls, "http://"+address)
	}
	b.Cleanup(func() {
		for _, p := range c.all {
			p.kill()
		}
	})
	return c
}

// start starts the first so many nodes and waits until they take pushes; a third one may take its time.
func (c *built) start(b *testing.B, nodes int) {
	b.Helper()
	c.all = nil
	for _, file := range c.files[:nodes] {
		cmd := exec.CommandContext(context.WithoutCancel(b.Context()), c.binary, "serve", file, "--drain-wait", "0s")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		check(b, cmd.Start())
		c.all = append(c.all, &process{cmd: cmd})
	}
	for _, url := range c.urls[:2] {
		eventually(b, url+" is ready", func() bool {
			_, err := c.get(b, url+"/readyz?for=write")
			return err == nil
		})
	}
}

func (c *built) stop(b *testing.B) {
	b.Helper()
	for _, p := range c.all {
		check(b, p.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, p := range c.all {
		_ = p.cmd.Wait() // the next start says what was wrong
		p.cmd = nil
	}
}

// fill pushes all layers, and waits until each node has each.
func (c *built) fill(b *testing.B) {
	b.Helper()
	content, rng := make([]byte, layerSize), rand.New(rand.NewPCG(1, 2))
	for range layers {
		for i := 0; i < len(content); i += 8 {
			word := rng.Uint64()
			for k := range 8 {
				content[i+k] = byte(word >> (8 * k))
			}
		}
		d := digest.FromBytes(content).String()
		request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, c.urls[0]+"/v2/team/app/blobs/uploads/?digest="+d, bytes.NewReader(content))
		check(b, err)
		response, err := http.DefaultClient.Do(request)
		check(b, err)
		check(b, response.Body.Close())
		if response.StatusCode != http.StatusCreated {
			b.Fatalf("push: %s", response.Status)
		}
		c.names = append(c.names, d)
	}
	for n := range c.roots {
		eventually(b, "each node has each layer", func() bool { return c.copies(b, n) >= layers })
	}
}

// copies is how many files with copies a node has.
func (c *built) copies(b *testing.B, n int) (files int) {
	b.Helper()
	all, err := filepath.Glob(filepath.Join(c.roots[n], "copies", "*", "*"))
	check(b, err)
	for _, name := range all {
		if filepath.Ext(name) == "" {
			files++
		}
	}
	return files
}

// pass is what a node notes of how far it has scrubbed.
type pass struct {
	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
}

func (c *built) note(n int) string { return filepath.Join(c.roots[n], "node", "scrub-default.json") }

// scrubbed has the first two nodes, which are stopped, believe that they have hashed all at a time; or for none, that
// they are very late with it.
func (c *built) scrubbed(b *testing.B, at time.Time) {
	b.Helper()
	p := pass{Began: at, Ended: at}
	if at.IsZero() {
		p.Began = time.Now().Add(-365 * 24 * time.Hour)
	}
	content, err := json.Marshal(p)
	check(b, err)
	for n := range 2 {
		check(b, os.WriteFile(c.note(n), content, 0o600))
	}
}

// scrubs reports whether a node is in the pass that it was late with.
func (c *built) scrubs(b *testing.B, n int) bool {
	b.Helper()
	content, err := os.ReadFile(c.note(n))
	check(b, err)
	var p pass
	check(b, json.Unmarshal(content, &p))
	return p.Ended.IsZero() && time.Since(p.Began) > 24*time.Hour
}

// measure pulls for a while and returns how long each pull took, from when it should have begun to its last byte.
func (c *built) measure(b *testing.B) []time.Duration {
	b.Helper()
	stop := c.load(b)
	time.Sleep(warmUpFor)
	stop()
	stop = c.load(b)
	time.Sleep(measureFor)
	return stop()
}

// load pulls layers from the first two nodes until stop is called, which returns how long each pull took.
func (c *built) load(b *testing.B) (stop func() []time.Duration) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var mu sync.Mutex
	var took []time.Duration
	var pulls, clock sync.WaitGroup
	clock.Go(func() {
		due := time.NewTicker(pullEvery)
		defer due.Stop()
		for n := 0; ; n++ {
			began := time.Time{}
			select {
			case began = <-due.C:
			case <-ctx.Done():
				return
			}
			pulls.Go(func() {
				body, err := c.get(b, c.urls[n%2]+"/v2/team/app/blobs/"+c.names[rand.IntN(layers)])
				if err != nil || len(body) != layerSize {
					b.Errorf("pull: %d bytes, %v", len(body), err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(began))
			})
		}
	})
	return func() []time.Duration {
		cancel()
		clock.Wait()
		pulls.Wait()
		return took
	}
}

func (c *built) get(b *testing.B, url string) ([]byte, error) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, http.NoBody)
	check(b, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return body, errors.Join(err, response.Body.Close())
}

// eventually waits until something holds.
func eventually(b *testing.B, what string, holds func() bool) {
	b.Helper()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for end := time.Now().Add(3 * time.Minute); !holds(); <-retry.C {
		if time.Now().After(end) {
			b.Fatalf("never came to be: %s", what)
		}
	}
}
