package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// layer is the size of what is pushed here.
const layer = 4 << 20

// TestFullDisk fills a real file system, which has nothing but the node on it: at 85 % pushes get 507, pulls and
// deletes go on, and when collection has made room the node takes pushes again, without anybody's doing.
func TestFullDisk(t *testing.T) {
	const disk = 128 << 20
	at := harness.StartEach(t, smallDisk(disk))[0].URL("")

	var pushed []string
	for len(pushed) <= disk/layer {
		d, status, answer := pushLayer(t, at, len(pushed))
		if status == http.StatusInsufficientStorage {
			if !strings.Contains(answer, "pushes are taken below 85 %") && !strings.Contains(answer, "uploads are taken below 85 %") {
				t.Errorf("the refusal says %s", answer)
			}
			break
		}
		if status != http.StatusCreated {
			t.Fatalf("layer %d: %d %s", len(pushed), status, answer)
		}
		pushed = append(pushed, d)
	}
	// The log and the state have their part, and what was refused was not taken in the middle.
	if n := len(pushed); n < disk/layer/2 || n > disk*85/100/layer+1 {
		t.Fatalf("%d layers of %d bytes went onto a disk of %d", n, layer, disk)
	}
	if status, answer := asked(t, http.MethodGet, at+"/readyz?for=write", nil); status != http.StatusServiceUnavailable || !strings.Contains(answer, "disk") {
		t.Errorf("/readyz?for=write: %d %s", status, answer)
	}
	if status, answer := asked(t, http.MethodGet, at+"/readyz", nil); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, answer)
	}
	for _, d := range pushed {
		if status, body := asked(t, http.MethodGet, at+"/v2/full/blobs/"+d, nil); status != http.StatusOK || len(body) != layer {
			t.Errorf("pull of %s: %d, %d bytes", d, status, len(body))
		}
	}
	for _, d := range pushed[len(pushed)/2:] {
		if status, answer := asked(t, http.MethodDelete, at+"/v2/full/blobs/"+d, nil); status != http.StatusAccepted {
			t.Fatalf("DELETE of %s: %d %s", d, status, answer)
		}
	}
	harness.Until(t, "there is room again", func(ctx context.Context) error { return harness.Probe(ctx, at+"/readyz?for=write") })
	if _, status, answer := pushLayer(t, at, 1000); status != http.StatusCreated {
		t.Errorf("a push after room was made: %d %s", status, answer)
	}
}

// smallDisk is a node on a file system of its own, of so many bytes if they are any, which collects garbage all the time.
func smallDisk(bytes int64) harness.Plan {
	return harness.Plan{Disk: bytes, Storage: map[string]any{"gcInterval": "1s"}}
}

// TestFullDisksOfOthers fills the disks of two nodes of three with what is pushed through the third, which has room: it
// refuses pushes then, for two must have a copy. All that was pushed is served by all three, and when collection has
// made room pushes go on, without anybody's doing.
func TestFullDisksOfOthers(t *testing.T) {
	t.Parallel()
	const disk = 160 << 20
	nodes := harness.StartEach(t, smallDisk(disk), smallDisk(disk), smallDisk(0))
	at := nodes[2].URL("")

	var pushed []string
	refused := ""
	for refused == "" && len(pushed) <= disk/layer {
		d, status, answer := pushLayer(t, at, len(pushed))
		switch status {
		case http.StatusCreated:
			pushed = append(pushed, d)
		case http.StatusInsufficientStorage:
			refused = answer
		default:
			t.Fatalf("layer %d: %d %s", len(pushed), status, answer)
		}
	}
	if !strings.Contains(refused, "the disks of 2 of the other nodes are used to 85 % or more") || !strings.Contains(refused, "make room there") {
		t.Fatalf("after %d layers the refusal says %q", len(pushed), refused)
	}
	for i, n := range nodes {
		if _, status, answer := pushLayer(t, n.URL(""), 500+i); status != http.StatusInsufficientStorage {
			t.Errorf("%s: a push onto full disks: %d %s", n.Name, status, answer)
		}
		if status, answer := asked(t, http.MethodGet, n.URL("/readyz"), nil); status != http.StatusOK {
			t.Errorf("%s: /readyz: %d %s", n.Name, status, answer)
		}
		for _, d := range pushed {
			if status, body := asked(t, http.MethodGet, n.URL("/v2/full/blobs/"+d), nil); status != http.StatusOK || digestOf(body) != d {
				t.Errorf("%s: pull of %s: %d, %d bytes", n.Name, d, status, len(body))
			}
		}
	}
	gone, kept := pushed[len(pushed)/2:], pushed[:len(pushed)/2]
	for i, d := range gone {
		if status, answer := asked(t, http.MethodDelete, nodes[i%3].URL("/v2/full/blobs/"+d), nil); status != http.StatusAccepted {
			t.Fatalf("DELETE of %s: %d %s", d, status, answer)
		}
	}
	harness.WaitWritable(t, nodes...)
	for i, n := range nodes {
		d, status, answer := pushLayer(t, n.URL(""), 1000+i)
		if status != http.StatusCreated {
			t.Errorf("%s: a push after room was made: %d %s", n.Name, status, answer)
		}
		kept = append(kept, d)
	}
	for _, n := range nodes {
		for _, d := range kept {
			if status, body := asked(t, http.MethodGet, n.URL("/v2/full/blobs/"+d), nil); status != http.StatusOK || digestOf(body) != d {
				t.Errorf("%s: pull of %s after room was made: %d, %d bytes", n.Name, d, status, len(body))
			}
		}
	}
}

func digestOf(body string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body))) }

// pushLayer pushes the layer of a number in one request, and comes again as clients do when it is told to, while the nodes
// choose a leader.
func pushLayer(t *testing.T, at string, number int) (digest string, status int, answer string) {
	t.Helper()
	content := make([]byte, layer)
	binary.BigEndian.PutUint64(content, uint64(number))
	digest = digestOf(string(content))
	for range 10 {
		if status, answer = asked(t, http.MethodPost, at+"/v2/full/blobs/uploads/?digest="+digest, content); status != http.StatusServiceUnavailable {
			break
		}
		time.Sleep(time.Second)
	}
	return digest, status, answer
}

// asked sends a request and returns what is answered.
func asked(t *testing.T, method, url string, body []byte) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}
