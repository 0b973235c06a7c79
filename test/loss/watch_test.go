package loss_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// patience is how long repair may take: it looks every half minute.
const patience = 5 * time.Minute

// status is what `zot cluster status --json` says, as far as it matters here.
type status struct {
	Members []struct {
		Name        string
		Incarnation string
		State       string
		Voter       bool
		Applied     *uint64
		Held        struct{ Copies int }
	}
	Blobs struct {
		Damaged       int
		BelowReplicas int
	}
	Emptying []struct {
		Node   string
		Leaves bool
		Copies int
	}
}

// heldBy is how many copies the nodes with these names have, as one of them sees it, and how many all have.
func heldBy(t *testing.T, asked *harness.Node, of ...*harness.Node) (some, all int, err error) {
	t.Helper()
	s, err := statusOf(t, asked)
	for _, m := range s.Members {
		all += m.Held.Copies
		for _, n := range of {
			if n.Name == m.Name {
				some += m.Held.Copies
			}
		}
	}
	return some, all, err
}

// held is heldBy of nodes that answer.
func held(t *testing.T, asked *harness.Node, of ...*harness.Node) (some, all int) {
	t.Helper()
	some, all, err := heldBy(t, asked, of...)
	if err != nil {
		t.Fatal(err)
	}
	return some, all
}

func statusOf(t *testing.T, n *harness.Node) (s status, err error) {
	t.Helper()
	out, err := n.Zot(t, "cluster", "status", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	return s, err
}

// incarnationOf is the disk of a node, as another one sees it. It fails while there is no such node.
func incarnationOf(t *testing.T, asked *harness.Node, name string) (string, error) {
	t.Helper()
	s, err := statusOf(t, asked)
	if err != nil {
		return "", err
	}
	for _, m := range s.Members {
		if m.Name == name {
			return m.Incarnation, nil
		}
	}
	return "", fmt.Errorf("no node is named %s", name)
}

// incarnation is that of a node that is there.
func incarnation(t *testing.T, asked *harness.Node, name string) (one string) {
	t.Helper()
	until(t, name+" is known", func() (err error) {
		one, err = incarnationOf(t, asked, name)
		return err
	})
	return one
}

// until waits for as long as repair may take.
func until(t *testing.T, goal string, reached func() error) {
	t.Helper()
	within(t, patience, goal, reached)
}

// within waits for a while.
func within(t *testing.T, while time.Duration, goal string, reached func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for began := time.Now(); ; {
		err := reached()
		if err == nil {
			t.Logf("after %.1f s: %s", time.Since(began).Seconds(), goal)
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", goal, while, err)
		}
	}
}

// whole waits until a node sees so many members, all of which answer and vote, and no blob that lacks a copy.
func whole(t *testing.T, asked *harness.Node, members int) {
	t.Helper()
	until(t, fmt.Sprintf("%d members are whole", members), func() error {
		s, err := statusOf(t, asked)
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.State != "member" || !m.Voter || m.Applied == nil {
				return fmt.Errorf("%s is %s", m.Name, m.State)
			}
		}
		if len(s.Members) != members || s.Blobs.BelowReplicas > 0 || s.Blobs.Damaged > 0 {
			return fmt.Errorf("%d members, blobs %+v", len(s.Members), s.Blobs)
		}
		return nil
	})
}

// verified has the nodes that are left checked against each other, and their disks. Where all nodes run at the end
// the harness does that.
func verified(t *testing.T, asked *harness.Node) {
	t.Helper()
	if _, err := asked.Zot(t, "cluster", "verify"); err != nil {
		t.Error(err)
	}
}

// files are those of a node's copies.
func files(t *testing.T, n *harness.Node) (all []string) {
	t.Helper()
	return filesBelow(t, n.Root)
}

// filesBelow are those of the copies of a store, by its directory.
func filesBelow(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "copies"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			all = append(all, path)
		}
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// move moves a directory or file.
func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// apart waits until there is one copy of each blob in each of two zones, and no more.
func apart(t *testing.T, a, b []*harness.Node) {
	t.Helper()
	until(t, "each blob has one copy in each zone", func() error {
		in := map[digest.Digest][2]int{} // how many, by zone
		for zone, nodes := range [][]*harness.Node{a, b} {
			for _, n := range nodes {
				for _, file := range files(t, n) {
					if filepath.Ext(file) != "" {
						continue // the sums of a copy
					}
					content, err := os.ReadFile(file)
					if err != nil {
						return err // removed meanwhile
					}
					d := digest.FromBytes(content)
					copies := in[d]
					copies[zone]++
					in[d] = copies
				}
			}
		}
		for d, copies := range in {
			if copies != [2]int{1, 1} {
				return fmt.Errorf("%s has %v copies in the two zones, and is one of %d blobs", d, copies, len(in))
			}
		}
		return nil
	})
}

// bytesIn is how much is in the copies of a node.
func bytesIn(t *testing.T, n *harness.Node) (bytes int64) {
	t.Helper()
	for _, file := range files(t, n) {
		if info, err := os.Stat(file); err == nil { // else it was removed meanwhile
			bytes += info.Size()
		}
	}
	return bytes
}
