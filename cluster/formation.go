package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

const (
	pathHello = "/hello"
	pathForm  = "/form"

	codeNotEmpty = "not-empty"
	codePromised = "promised"

	helloTimeout = 2 * time.Second
	enterPause   = 500 * time.Millisecond
)

// hello is how a node presents itself to one that it does not know.
type hello struct {
	Name        string            `json:"name"`
	Incarnation entry.Incarnation `json:"incarnation"`
	Address     string            `json:"address"`
	Expect      int               `json:"expect"`
	HasState    bool              `json:"hasState"`
}

// plan is the cluster that a node means to form: all its first members, lowest name first. That one
// writes the first entry.
type plan struct {
	Members []hello `json:"members"`
}

func (p plan) bootstrapper() hello { return p.Members[0] }

// formation guards what this node has promised.
type formation struct{ mu sync.Mutex }

// hasState reports whether this node is part of a cluster: a node with state never bootstraps.
func (n *Node) hasState() bool { return len(n.servers()) > 0 }

func (n *Node) present() hello {
	return hello{
		Name: n.config.Node, Incarnation: n.config.Incarnation, Address: n.config.Advertise,
		Expect: n.config.Expect, HasState: n.hasState(),
	}
}

// enter makes this node part of a cluster, if it is not, and announces it there. It returns nil when
// that is done and ctx ended.
func (n *Node) enter(ctx context.Context) error {
	for said := ""; !n.hasState() && ctx.Err() == nil; pause(ctx, enterPause, nil) {
		err := n.formOrJoin(ctx)
		n.waiting.because(err)
		if err != nil && err.Error() != said {
			said = err.Error()
			n.log.Info("not part of a cluster yet", "reason", said)
		}
	}
	n.announce(ctx)
	<-ctx.Done()
	return nil
}

// formOrJoin looks at the nodes named in the configuration once, and does what they allow.
func (n *Node) formOrJoin(ctx context.Context) error {
	if n.config.Peer == nil {
		return n.bootstrap(plan{[]hello{n.present()}})
	}
	met, missing := n.hail(ctx)
	for _, other := range met {
		if other.HasState {
			return n.askToJoin(ctx, other)
		}
	}
	met = append(met, n.present())
	switch {
	case len(met) < n.config.Expect:
		return fmt.Errorf("%d of %d nodes for the first start are there; %s", len(met), n.config.Expect, strings.Join(missing, "; "))
	case len(missing) > 0:
		return fmt.Errorf("members names nodes that have not answered, and one of them may have state: %s", strings.Join(missing, "; "))
	case len(met) > n.config.Expect:
		return fmt.Errorf("%d nodes answered, and the first start waits for %d: mend bootstrapExpect or members", len(met), n.config.Expect)
	}
	return n.formWith(ctx, met)
}

// hail asks all configured members who they are; this node itself and repetitions are left out.
func (n *Node) hail(ctx context.Context) (met []hello, missing []string) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	seen := map[entry.Incarnation]bool{n.config.Incarnation: true}
	addresses, missing := n.config.Seeds(ctx)
	for _, address := range addresses {
		asking.Go(func() {
			answer, err := n.config.Peer.Call(ctx, peer.Target{Address: address}, pathHello, nil)
			var h hello
			if err == nil {
				err = json.Unmarshal(answer, &h)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				missing = append(missing, fmt.Sprintf("%s: %v", address, err))
			case !seen[h.Incarnation]:
				seen[h.Incarnation] = true
				met = append(met, h)
			}
		})
	}
	asking.Wait()
	slices.Sort(missing)
	return met, missing
}

func (n *Node) handleHello(ctx context.Context, _ peer.Caller, _ []byte) ([]byte, error) {
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	return json.Marshal(n.present())
}

// formWith forms the cluster if this node is the one that does, and all others agree.
func (n *Node) formWith(ctx context.Context, members []hello) error {
	slices.SortFunc(members, func(a, b hello) int { return strings.Compare(a.Name, b.Name) })
	p := plan{members}
	for i, m := range members {
		if m.Expect != n.config.Expect {
			return fmt.Errorf("node %s waits for %d nodes, this one for %d: make bootstrapExpect the same", m.Name, m.Expect, n.config.Expect)
		}
		if i > 0 && m.Name == members[i-1].Name {
			return fmt.Errorf("two nodes are named %s", m.Name)
		}
	}
	if p.bootstrapper().Incarnation != n.config.Incarnation {
		return fmt.Errorf("waiting for %s to form the cluster", p.bootstrapper().Name)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := n.promise(p); err != nil {
		return err
	}
	for _, m := range members[1:] {
		if _, err := n.call(ctx, serverAddress(m.Incarnation, m.Address), pathForm, body); err != nil {
			return fmt.Errorf("node %s does not agree: %w", m.Name, err)
		}
	}
	return n.bootstrap(p)
}

// bootstrap writes entry 1. Raft refuses if there is any state already.
func (n *Node) bootstrap(p plan) error {
	var c raft.Configuration
	for _, m := range p.Members {
		c.Servers = append(c.Servers, raft.Server{ID: serverID(m.Incarnation), Address: serverAddress(m.Incarnation, m.Address)})
	}
	if err := n.raft.BootstrapCluster(c).Error(); err != nil {
		return fmt.Errorf("write the first entry: %w", err)
	}
	n.log.Info("cluster formed", "nodes", len(c.Servers))
	return nil
}

// handleForm agrees to a plan, once: a node that had agreed to two could help two clusters into life.
func (n *Node) handleForm(ctx context.Context, from peer.Caller, body []byte) ([]byte, error) {
	if err := n.up(ctx); err != nil {
		return nil, coded(err)
	}
	var p plan
	if err := json.Unmarshal(body, &p); err != nil || len(p.Members) == 0 {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "not a plan of a cluster"}
	}
	self := func(h hello) bool { return h.Incarnation == n.config.Incarnation && h.Name == n.config.Node }
	switch {
	case p.bootstrapper().Incarnation.String() != from.Incarnation:
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "only the lowest name forms the cluster"}
	case len(p.Members) != n.config.Expect || !slices.ContainsFunc(p.Members, self):
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: fmt.Sprintf("node %s waits for %d nodes, itself among them", n.config.Node, n.config.Expect)}
	case n.hasState():
		return nil, &peer.RemoteError{Code: codeNotEmpty, Message: fmt.Sprintf("node %s has state", n.config.Node)}
	}
	if err := n.promise(p); err != nil {
		return nil, &peer.RemoteError{Code: codePromised, Message: err.Error()}
	}
	return nil, nil
}

// promise writes down, durably, which cluster this node has agreed to be a first member of. Another
// plan is accepted only from a node of the same name: it alone can know whether it wrote entry 1, and
// with a new incarnation it has not, or one of the nodes that all answered "empty" would have state.
func (n *Node) promise(p plan) error {
	n.form.mu.Lock()
	defer n.form.mu.Unlock()
	name := filepath.Join(n.config.Dir, promiseName)
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(name) //nolint:gosec // a path of the node's own directory
	if err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err == nil {
		var before plan
		if err := json.Unmarshal(old, &before); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if before.bootstrapper().Name != p.bootstrapper().Name {
			return fmt.Errorf("node %s has agreed that %s forms the cluster; if that is wrong, empty %s", n.config.Node, before.bootstrapper().Name, n.config.Dir)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	draft := filepath.Join(n.config.Dir, promiseDraftName)
	if err := writeFile(n.config.Files, draft, content); err != nil {
		return err
	}
	if err := n.config.Files.Rename(draft, name); err != nil {
		return err
	}
	return n.config.Files.SyncDir(n.config.Dir)
}

// clusterID is the SHA-256 of the sorted incarnations of the first members.
func clusterID(servers []raft.Server) []byte {
	ids := make([]string, 0, len(servers))
	for _, s := range servers {
		ids = append(ids, string(s.ID))
	}
	slices.Sort(ids)
	id := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return id[:]
}
