package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

const dockerfile = "../../deploy/docker/Dockerfile"

// TestContainers cuts a node off from the others, once one that follows and once the one that leads:
// the others take pushes and answer pulls, and the one that comes back has it all.
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
			cutOff(t, away.Node, before.Read(image.Digest), image)

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

// cutOff sees to it that a node without the others answers what it has, marked as old, and refuses
// what it cannot know or do.
func cutOff(t *testing.T, n *harness.Node, manifest []byte, image ocispec.Descriptor) {
	t.Helper()
	answer := ask(t, http.MethodGet, n.URL("/v2/containers/app/manifests/before"))
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Zot-Consistency") != "stale" {
		t.Errorf("%s, cut off: a tag that it has: %s, consistency %q", n.Name, answer.Status, answer.Header.Get("X-Zot-Consistency"))
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, n.URL("/v2/containers/app/manifests/new"), strings.NewReader(string(manifest)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", image.MediaType)
	unavailable(t, n, request)
	request, err = http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL("/v2/containers/app/manifests/unknown"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	unavailable(t, n, request)
}

// unavailable sends a request that the node must put off.
func unavailable(t *testing.T, n *harness.Node, request *http.Request) {
	t.Helper()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	var body struct{ Errors []struct{ Code string } }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Errorf("%s, cut off: %s %s: not JSON: %v", n.Name, request.Method, request.URL.Path, err)
	}
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%s, cut off: %s %s: %s, Retry-After %q", n.Name, request.Method, request.URL.Path, answer.Status, answer.Header.Get("Retry-After"))
	}
}
