package api_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
)

// took runs what it is given, and returns how long that took by the clock of the bubble.
func took(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

// expectTook fails the test unless something took this long, in the bubble's time, in which computing takes none.
func expectTook(t *testing.T, what string, have, want time.Duration) {
	t.Helper()
	if have.Round(10*time.Millisecond) != want {
		t.Errorf("%s took %s, want %s", what, have, want)
	}
}

// What was acknowledged by one node is found through one that lags behind: the leader answers for it, and nothing
// is said to be stale.
func TestLaggingNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := join(t)
		lagging := c.nodes[2]
		lagging.lag()
		defer lagging.hurry()
		d := c.nodes[1].pushImage()
		config := digest.FromString("config").String()
		for path, status := range map[string]int{
			"GET /v2/a/b/manifests/v1":         200,
			"HEAD /v2/a/b/manifests/v1":        200,
			"GET /v2/a/b/manifests/" + d:       200,
			"HEAD /v2/a/b/manifests/" + d:      200,
			"GET /v2/a/b/blobs/" + config:      200,
			"HEAD /v2/a/b/blobs/" + config:     200,
			"GET /v2/a/b/tags/list":            200,
			"GET /v2/_catalog":                 200,
			"GET /v2/a/b/referrers/" + d:       200,
			"GET /v2/a/b/manifests/v2":         404,
			"HEAD /v2/a/b/blobs/" + absent:     404,
			"GET /v2/a/b/manifests/" + absent:  404,
			"GET /v2/unknown/name/tags/list":   404,
			"GET /v2/a/b/manifests/" + d + "0": 400,
		} {
			method, path, _ := strings.Cut(path, " ")
			answer := c.nodes[0].do(call{method: method, path: path})
			took := took(func() {
				mine := lagging.must(status, call{method: method, path: path})
				if withoutID(mine) != withoutID(answer) || mine.Header().Get("X-Zot-Consistency") != "" || len(mine.Header().Values("X-Request-Id")) != 1 {
					t.Errorf("%s: %v %s", path, mine.Header(), mine.Body)
				}
			})
			if status != http.StatusBadRequest {
				expectTook(t, path, took, time.Second)
			}
		}
	})
}

// A digest that is here is answered for soon, though the node lags: it can only have been deleted.
func TestLaggingNodeHasTheDigest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := join(t)
		d := c.nodes[0].pushImage()
		c.nodes[2].lag()
		defer c.nodes[2].hurry()
		for _, path := range []string{"manifests/" + d, "blobs/" + digest.FromString("config").String()} {
			expectTook(t, path, took(func() {
				if h := c.nodes[2].must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/" + path}).Header(); h.Get("X-Zot-Consistency") != "stale" {
					t.Errorf("%s: %v", path, h)
				}
			}), 150*time.Millisecond)
		}
		if c.forwards() != 0 {
			t.Errorf("%d requests were forwarded", c.forwards())
		}
	})
}

// If the leader cannot be asked either, the wait goes on, five seconds in all.
func TestLaggingNodeAndNoAnswerFromTheLeader(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(leader *node){
		"down":         func(l *node) { l.set(func(n *node) { n.down = true }) },
		"hangs":        func(l *node) { l.hangs.Store(true) },
		"cannot tell":  func(l *node) { l.set(func(n *node) { n.alone = true }) },
		"lags as well": func(l *node) { l.set(func(n *node) { n.caught = make(chan struct{}) }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := join(t)
				c.nodes[2].lag()
				fault(c.nodes[0])
				list := call{method: http.MethodGet, path: "/v2/a/b/tags/list"}
				expectTook(t, "a wait in vain", took(func() { isUnavailable(t, c.nodes[2].do(list)) }), 5*time.Second)
				go func() {
					time.Sleep(4 * time.Second)
					c.nodes[2].hurry()
				}()
				expectTook(t, "a wait", took(func() { c.nodes[2].must(http.StatusNotFound, list) }), 4*time.Second)
				synctest.Wait()
			})
		})
	}
}

// What was forwarded waits here, and goes nowhere else.
func TestForwardedReadIsNotForwarded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := join(t)
		c.nodes[1].lag()
		defer c.nodes[1].hurry()
		isUnavailable(t, send(t, c.nodes[1].Forwarded(), call{method: http.MethodGet, path: "/v2/a/b/tags/list", header: []string{byAll}}))
		if c.forwards() != 0 {
			t.Errorf("%d requests were forwarded", c.forwards())
		}
	})
}

// A node without a quorum asks the others before it says that it cannot tell.
func TestNotFoundWithoutQuorum(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := join(t).serve()
		lagging := c.nodes[2]
		lagging.lag()
		defer lagging.hurry()
		d := c.nodes[1].pushImage()
		for _, n := range c.nodes {
			n.set(func(n *node) { n.alone = true })
		}
		for _, path := range []string{"manifests/v1", "manifests/" + d, "blobs/" + digest.FromString("config").String(), "tags/list"} {
			if h := lagging.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/" + path}).Header(); h.Get("X-Zot-Consistency") != "stale" {
				t.Errorf("%s: %v", path, h)
			}
		}
		isUnavailable(t, lagging.do(call{method: http.MethodGet, path: "/v2/a/b/manifests/v2"}))
		c.nodes[0].set(func(n *node) { n.alone = false }) // that one knows
		if h := lagging.must(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/v2"}).Header(); h.Get("X-Zot-Consistency") != "" {
			t.Errorf("%v", h)
		}
		if h := lagging.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1"}).Header(); h.Get("X-Zot-Consistency") != "" {
			t.Errorf("%v", h)
		}
	})
}

// A registry whose reads are local says so, also of what it did not find, and asks nobody.
func TestLocalReads(t *testing.T) {
	t.Parallel()
	c := join(t, func(n *node) { n.config.LocalReads = true }).serve()
	c.nodes[2].lag()
	defer c.nodes[2].hurry()
	c.nodes[1].pushImage()
	c.nodes[2].set(func(n *node) { n.alone = true })
	answer := c.nodes[2].must(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/v1"})
	if answer.Header().Get("X-Zot-Consistency") != "stale" || !strings.Contains(answer.Body.String(), "NAME_UNKNOWN") || c.forwards() != 0 {
		t.Errorf("%v %s, %d requests were forwarded", answer.Header(), answer.Body, c.forwards())
	}
}

// Bytes that nobody can be asked for are not lost.
func TestNoHolderAnswers(t *testing.T) {
	t.Parallel()
	c := join(t).serve()
	get := call{method: http.MethodGet, path: "/v2/a/b/blobs/" + c.nodes[1].push("layer")}
	c.nodes[1].set(func(n *node) { n.down = true })
	isUnavailable(t, c.nodes[0].do(get))
	c.nodes[1].set(func(n *node) { n.down = false })
	c.nodes[0].must(http.StatusOK, get)
}

// A Location is a path, whatever a proxy says of itself, unless clients are known to need more.
func TestLocation(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{"": "/v2/a/b/", "https://registry.example:8443": "https://registry.example:8443/v2/a/b/"} {
		c := join(t, func(n *node) { n.config.BaseURL = base }).serve()
		header := []string{"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example", "Host: other:5000"}
		d := digest.FromString("abc").String()
		begun := c.nodes[0].must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/", header: header}).Header().Get("Location")
		went := c.nodes[1].must(http.StatusAccepted, call{method: http.MethodPatch, path: strings.TrimPrefix(begun, base), header: header, body: "abc"}).Header().Get("Location")
		stored := c.nodes[2].must(http.StatusCreated, call{method: http.MethodPut, path: strings.TrimPrefix(went, base) + "?digest=" + d, header: header}).Header().Get("Location")
		for _, have := range []string{begun, went, stored} {
			if !strings.HasPrefix(have, want) || strings.Contains(have, "?") {
				t.Errorf("Location %q, want %s...", have, want)
			}
		}
	}
}

// What makes no sense is refused when the registry is made.
func TestConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]func(c *api.Config){
		"no keys":          func(c *api.Config) { c.UploadKeys = nil },
		"short key":        func(c *api.Config) { c.UploadKeys = [][]byte{[]byte("short")} },
		"no idle time":     func(c *api.Config) { c.Idle = 0 },
		"no retry time":    func(c *api.Config) { c.RetryAfter = 0 },
		"no silence":       func(c *api.Config) { c.Silence = 0 },
		"no bodies":        func(c *api.Config) { c.MaxBodies = 0 },
		"little memory":    func(c *api.Config) { c.ManifestMemory = 4 << 20 },
		"base without":     func(c *api.Config) { c.BaseURL = "registry.example" },
		"base with slash":  func(c *api.Config) { c.BaseURL = "https://registry.example/" },
		"base of nonsense": func(c *api.Config) { c.BaseURL = "https://[" },
	} {
		config := api.DefaultConfig()
		config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
		change(&config)
		if _, err := api.New(config, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(w.blobs, nil)}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
