// Package e2e_test pushes and pulls with the programs that people use, the Docker engine, skopeo and
// crane, at three real nodes behind a load balancer.
//
// `make e2e-deps` installs what it needs, `make e2e` runs it. Start with TestSkopeo; what a push and a
// pull are made of is in harness, images makes what is pushed.
package e2e_test

import (
	"os"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// ours is the balancer's configuration that users are given.
const ours = "../../deploy/haproxy/haproxy.cfg"

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// start runs three nodes, and a balancer before them that sends each request to another.
func start(t *testing.T) ([]*harness.Node, *harness.Balancer) {
	t.Helper()
	nodes := harness.Start(t, 3)
	return nodes, harness.Balance(t, ours, nodes...)
}
