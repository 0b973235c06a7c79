package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// TestFullDisk fills a real file system, which has nothing but the node on it: at 85 % pushes get 507, pulls and
// deletes go on, and when collection has made room the node takes pushes again, without anybody's doing.
func TestFullDisk(t *testing.T) {
	const layer, disk = 4 << 20, 128 << 20
	at := startOnSmallDisk(t, disk)

	var pushed []string
	for len(pushed) <= disk/layer {
		d, status, answer := pushLayer(t, at, len(pushed), layer)
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
	if _, status, answer := pushLayer(t, at, 1000, layer); status != http.StatusCreated {
		t.Errorf("a push after room was made: %d %s", status, answer)
	}
}

// startOnSmallDisk runs a node alone on a file system of its own, and returns its URL.
func startOnSmallDisk(t *testing.T, size int) string {
	t.Helper()
	binary := harness.Program(t, "ZOT")
	root, err := os.MkdirTemp("", "zot-full-") //nolint:usetesting // a Unix socket in it must have a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("a file system can only be mounted as root: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	port := harness.FreePorts(t, 1)[0]
	file := filepath.Join(t.TempDir(), "zot.json")
	config := fmt.Sprintf(`{"storage": {"rootDirectory": %q, "gcInterval": "1s"}, "http": {"address": "127.0.0.1", "port": "%d"}}`, root, port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the node has its own
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", file, "--drain-wait", "0s")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		harness.Verify(t, exec.CommandContext(context.WithoutCancel(t.Context()), binary, "cluster", "verify", "--config", file))
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("the node ended with %v", err)
		}
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the node said:\n%s", text)
		}
	})
	at := fmt.Sprintf("http://127.0.0.1:%d", port)
	harness.Until(t, "the node takes pushes", func(ctx context.Context) error { return harness.Probe(ctx, at+"/readyz?for=write") })
	return at
}

// pushLayer pushes the layer of a number in one request.
func pushLayer(t *testing.T, at string, number, size int) (digest string, status int, answer string) {
	t.Helper()
	content := make([]byte, size)
	binary.BigEndian.PutUint64(content, uint64(number))
	digest = fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	status, answer = asked(t, http.MethodPost, at+"/v2/full/blobs/uploads/?digest="+digest, content)
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
