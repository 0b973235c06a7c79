package loss_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// movingStatus is what `zot cluster status --json` says of repositories that move.
type movingStatus struct {
	Leader string
	Moving []struct {
		Repository, Store string
		There             struct{ Links int }
		Left              []struct{ Links int }
	}
}

func movingAt(t *testing.T, n *harness.Node) (s movingStatus, err error) {
	t.Helper()
	out, err := n.Zot(t, "cluster", "status", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	return s, err
}

// A repository of some hundred blobs is moved to a store of its own, on other disks, while clients pull from it and push
// to it, and the leader is killed in the middle. Every pull and every push is answered, also the one of a blob whose upload
// began before. In the end every blob is in the
// new store, and the old one, of which it was the only repository, is empty.
func TestRepositoryIsMoved(t *testing.T) {
	t.Parallel()
	disks := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	plans := make([]harness.Plan, len(disks))
	collected := map[string]any{"gc": true, "gcDelay": "1m", "gcInterval": "1s"}
	for i, disk := range disks {
		storage := map[string]any{"subPaths": map[string]any{"/fast": with(collected, map[string]any{"rootDirectory": filepath.Join(disk, "fast")})}}
		plans[i] = harness.Plan{Cluster: two(), Storage: with(storage, collected)}
	}
	nodes := harness.StartEach(t, plans...)
	l := newLedger(t)
	l.fill(400, nodes...)

	s, err := movingAt(t, nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	leads := slices.IndexFunc(nodes, func(n *harness.Node) bool { return n.Name == s.Leader })
	leader, others := nodes[leads], slices.Delete(slices.Clone(nodes), leads, leads+1)
	stopPulls, stopPushes := l.pulling(others...), l.mustPush(others...)
	defer stopPulls()
	defer stopPushes()
	upload := l.beginUpload(others[0])
	said, err := others[0].Zot(t, "cluster", "move", "team/app", "/fast", "--detach")
	if err != nil || !strings.HasPrefix(said, "team/app moves to store /fast: ") {
		t.Fatalf("%q, %v", said, err)
	}
	until(t, "some of it is moved", func() error { // a little, so that much is left whatever the machine does until the leader is killed
		s, err := movingAt(t, others[0])
		if err == nil && (len(s.Moving) != 1 || s.Moving[0].There.Links < 10) {
			err = fmt.Errorf("%+v", s.Moving)
		}
		return err
	})
	leader.Kill(t)
	if s, err := movingAt(t, others[0]); err != nil || len(s.Moving) != 1 {
		t.Fatalf("the leader was killed too late for this test: %+v, %v", s, err)
	}
	said, err = others[1].Zot(t, "cluster", "move", "team/app", "/fast") // which waits
	if err != nil || !strings.HasPrefix(said, "team/app is in store /fast: ") {
		t.Fatalf("%q, %v", said, err)
	}
	t.Log(said)
	upload()
	stopPushes()
	stopPulls()
	leader.Serve(t)
	whole(t, others[0], 3)
	until(t, "the old store is empty", func() error {
		for _, n := range nodes {
			if left := files(t, n); len(left) > 0 {
				return fmt.Errorf("%s has %d copies in it", n.Name, len(left)/2)
			}
		}
		return nil
	})
	l.found(nodes...)
	in := map[string]bool{}
	for _, disk := range disks {
		digests(t, filepath.Join(disk, "fast"), in)
	}
	for path, d := range l.all {
		if strings.Contains(path, "/blobs/") && !in[d.String()] {
			t.Errorf("%s is not in the new store", path)
		}
	}
	if s, err := movingAt(t, nodes[0]); err != nil || len(s.Moving) > 0 {
		t.Errorf("still moving: %+v, %v", s, err)
	}
	verified(t, nodes[0])
}

// beginUpload uploads a part of a blob, and returns what brings the rest, and the manifest for which it stays.
func (l *ledger) beginUpload(n *harness.Node) (end func()) {
	l.t.Helper()
	layer, tag, manifest := l.image()
	d := digest.FromBytes(layer)
	request := func(method, url string, body []byte, want int) string {
		l.t.Helper()
		r, err := http.NewRequestWithContext(l.t.Context(), method, url, bytes.NewReader(body))
		if err != nil {
			l.t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			l.t.Fatal(err)
		}
		defer a.Body.Close() //nolint:errcheck // nothing is in it
		if a.StatusCode != want {
			l.t.Fatalf("%s: %s", method, a.Status)
		}
		return n.URL(strings.TrimPrefix(a.Header.Get("Location"), "http://"+n.Address))
	}
	at := request(http.MethodPost, n.URL(repository+"/blobs/uploads/"), nil, http.StatusAccepted)
	at = request(http.MethodPatch, at, layer[:len(layer)/2], http.StatusAccepted)
	return func() {
		l.t.Helper()
		request(http.MethodPut, at+"?digest="+d.String(), layer[len(layer)/2:], http.StatusCreated)
		l.note(repository+"/blobs/"+d.String(), d)
		if err := send(l.t.Context(), http.MethodPut, n.URL(repository+"/manifests/"+tag), []byte(manifest)); err != nil {
			l.t.Fatal(err)
		}
		l.note(repository+"/manifests/"+tag, digest.FromString(manifest))
	}
}

// with is a map with the keys of another.
func with(m, more map[string]any) map[string]any {
	all := maps.Clone(m)
	maps.Copy(all, more)
	return all
}

// mustPush pushes images through nodes until stop is called. As clients do, it comes again when it is told to, while the
// nodes choose a leader; anything else fails the test. What is begun is finished, as in pushing.
func (l *ledger) mustPush(nodes ...*harness.Node) (stop func()) {
	ctx, cancel := context.WithCancel(l.t.Context())
	var clients sync.WaitGroup
	for _, n := range nodes {
		clients.Go(func() {
			pushes := 0
			for pace := time.NewTicker(50 * time.Millisecond); ; pushes++ {
				if err := l.pushAgain(l.t.Context(), n); err != nil {
					l.t.Errorf("push through %s: %v", n.Name, err)
				}
				select {
				case <-pace.C:
				case <-ctx.Done():
					pace.Stop()
					l.t.Logf("%d pushes through %s meanwhile", pushes, n.Name)
					return
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); clients.Wait() })
}

// pushAgain pushes an image through a node, and does again what is answered by 503.
func (l *ledger) pushAgain(ctx context.Context, n *harness.Node) error {
	layer, tag, manifest := l.image()
	d := digest.FromBytes(layer)
	for _, step := range []struct {
		method, path, at string
		body             []byte
	}{
		{http.MethodPost, l.into + "/blobs/uploads/?digest=" + d.String(), l.into + "/blobs/" + d.String(), layer},
		{http.MethodPut, l.into + "/manifests/" + tag, l.into + "/manifests/" + tag, []byte(manifest)},
	} {
		err := send(ctx, step.method, n.URL(step.path), step.body)
		for try := 1; err != nil && try < 10 && strings.Contains(err.Error(), "503"); try++ {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return err
			}
			err = send(ctx, step.method, n.URL(step.path), step.body)
		}
		if err != nil {
			return err
		}
		l.note(step.at, digest.FromBytes(step.body))
	}
	return nil
}
