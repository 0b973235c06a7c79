package e2e_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

const dockerfile = "../../deploy/docker/Dockerfile"

// silence is how long balancers wait for an answer (COMPAT 10).
const silence = 50 * time.Second

// TestContainers cuts a node off from the others, once one that follows and once the one that leads:
// the others take pushes and answer pulls, and the one that comes back has it all. Then a container is removed
// and another one gets its volume.
func TestContainers(t *testing.T) {
	engine := harness.StartEngine(t)
	containers := harness.StartContainers(t, engine, dockerfile, 3)
	var nodes []*harness.Node
	for _, c := range containers {
		nodes = append(nodes, c.Node)
	}
	balancer := harness.Balance(t, ours, nodes...)
	before, image := onePlatform(t, 900, 8<<20, 1<<20)
	push(t, before, "one", balancer.Address, "containers/app:before")
	same(t, "before", everywhere(t, nodes, "containers/app", "before"), in(t, before.Dir))

	for i, who := range []string{"follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			away := choose(t, containers, who == "leader")
			others := without(nodes, away.Node)
			away.Disconnect(t)
			harness.WaitWritable(t, others...)

			during, _ := onePlatform(t, 1000+10*uint64(i), 4<<20, 100)
			push(t, during, "one", others[0].Address, "containers/"+who+":1")
			same(t, "pulled from the other", in(t, pull(t, others[1].Address, "containers/"+who+":1")), in(t, during.Dir))
			cutOff(t, away.Node, before.Read(image.Digest), image, who == "leader")

			balancer.WaitState(t, "zot/"+away.Name, "DOWN")
			push(t, during, "one", balancer.Address, "containers/"+who+":2")
			same(t, "pulled through the balancer", in(t, pull(t, balancer.Address, "containers/app:before")), in(t, before.Dir))
			if who == "leader" {
				skopeo(t, "delete", "--tls-verify=false", "docker://"+balancer.Address+"/containers/"+who+":1")
			}

			away.Connect(t)
			harness.WaitWritable(t, nodes...)
			balancer.WaitState(t, "zot/"+away.Name, "UP")
			same(t, "before", everywhere(t, nodes, "containers/app", "before"), in(t, before.Dir))
			if who == "leader" {
				nowhere(t, nodes, "containers/"+who, "1")
				nowhere(t, nodes, "containers/"+who, "2") // the same digest
				return
			}
			same(t, "pushed meanwhile", everywhere(t, nodes, "containers/"+who, "1"), in(t, during.Dir))
			same(t, "pushed meanwhile", everywhere(t, nodes, "containers/"+who, "2"), in(t, during.Dir))
			// And it takes pushes again.
			push(t, during, "one", away.Address, "containers/again:1")
			same(t, "pushed to it", everywhere(t, nodes, "containers/again", "1"), in(t, during.Dir))
		})
	}

	t.Run("another container", func(t *testing.T) {
		away := choose(t, containers, true)
		others := without(nodes, away.Node)
		away.Replace(t)
		// It has all of it on its volume, before it hears of the others.
		harness.Until(t, away.Name+" lives", func(ctx context.Context) error { return harness.Probe(ctx, away.URL("/livez")) })
		same(t, "on its volume", contentAt(t, away.Node, "containers/app", "before"), in(t, before.Dir))
		harness.WaitWritable(t, others...)
		during, _ := onePlatform(t, 1030, 1<<20)
		push(t, during, "one", others[0].Address, "containers/meanwhile:1")

		away.Connect(t)
		harness.WaitWritable(t, nodes...)
		balancer.WaitState(t, "zot/"+away.Name, "UP")
		same(t, "pushed before", everywhere(t, nodes, "containers/app", "before"), in(t, before.Dir))
		same(t, "pushed meanwhile", everywhere(t, nodes, "containers/meanwhile", "1"), in(t, during.Dir))
		push(t, during, "one", away.Address, "containers/replaced:1")
		same(t, "pushed to it", everywhere(t, nodes, "containers/replaced", "1"), in(t, during.Dir))
	})
}

// choose finds a container whose node leads, or one whose node does not.
func choose(t *testing.T, containers []*harness.Container, leads bool) *harness.Container {
	t.Helper()
	leader := containers[0].Leader(t)
	for _, c := range containers {
		if (c.Name == leader) == leads {
			return c
		}
	}
	t.Fatalf("%s leads, and is none of the containers", leader)
	return nil
}

func without(nodes []*harness.Node, one *harness.Node) []*harness.Node {
	var rest []*harness.Node
	for _, n := range nodes {
		if n != one {
			rest = append(rest, n)
		}
	}
	return rest
}

// cutOff sees to it that a node without the others answers what it has, marked as old, and puts off what
// it cannot know or do, before a balancer gives it up. It takes half a minute to give up a push.
func cutOff(t *testing.T, n *harness.Node, manifest []byte, image ocispec.Descriptor, pushes bool) {
	t.Helper()
	type answered struct {
		method, tag string
		status      int
	}
	wanted := []answered{
		{http.MethodGet, "before", http.StatusOK},
		{http.MethodHead, "before", http.StatusOK},
		{http.MethodGet, "unknown", http.StatusServiceUnavailable},
	}
	if pushes {
		wanted = append(wanted, answered{http.MethodPut, "new", http.StatusServiceUnavailable})
	}
	for _, want := range wanted {
		request, err := http.NewRequestWithContext(t.Context(), want.method, n.URL("/v2/containers/app/manifests/"+want.tag), bytes.NewReader(manifest))
		if err != nil {
			t.Fatal(err)
		}
		if want.method != http.MethodPut {
			request.Body, request.ContentLength = http.NoBody, 0
		}
		request.Header.Set("Content-Type", image.MediaType)
		request.Header["Accept"] = accepted()
		asked := time.Now()
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
		took := time.Since(asked)
		t.Logf("%6.2fs  %s, cut off: %s %s: %s", took.Seconds(), n.Name, want.method, want.tag, answer.Status)
		stale := answer.Header.Get("X-Zot-Consistency") == "stale"
		later := answer.Header.Get("Retry-After") != ""
		if answer.StatusCode != want.status || stale != (want.status == http.StatusOK) || later == stale {
			t.Errorf("%s, cut off: %s %s: %s, want %d; stale %t, to be tried again %t", n.Name, want.method, want.tag, answer.Status, want.status, stale, later)
		}
		if took >= silence {
			t.Errorf("%s, cut off: %s %s: no answer for %v", n.Name, want.method, want.tag, took)
		}
	}
}
