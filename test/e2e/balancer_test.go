package e2e_test

import (
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// zots is the balancer's configuration in zot's own example of a cluster: it must do before us too. It
// looks only whether the nodes' ports are open.
const zots = "../testdata/zot-examples/cluster/haproxy.cfg"

func TestZotsBalancer(t *testing.T) {
	nodes := harness.Start(t, 3)
	balancer := harness.Balance(t, zots, nodes...)
	many, _ := manyPlatforms(t, 1100)
	push(t, many, "all", balancer.Address, "balancer/many:1")
	same(t, "pushed", everywhere(t, nodes, "balancer/many", "1"), in(t, many.Dir))
	same(t, "pulled", in(t, pull(t, balancer.Address, "balancer/many:1")), in(t, many.Dir))

	nodes[1].Stop(t)
	balancer.WaitState(t, "zot-cluster/zot2", "DOWN")
	push(t, many, "all", balancer.Address, "balancer/two:1")
	same(t, "pushed to two", everywhere(t, []*harness.Node{nodes[0], nodes[2]}, "balancer/two", "1"), in(t, many.Dir))
	nodes[1].Serve(t)
	harness.WaitWritable(t, nodes...)
	balancer.WaitState(t, "zot-cluster/zot2", "UP")
	same(t, "pushed while it was away", everywhere(t, nodes, "balancer/two", "1"), in(t, many.Dir))
	balancer.EveryServer(t, nodes)
}
