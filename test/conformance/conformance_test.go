// Package conformance_test runs the distribution specification's own program against the built binary.
//
// `make conformance` builds both and says where they are, in ZOT and CONFORMANCE. Start with
// TestOneNode; what the program found in detail is under RESULTS.
package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a node may take to be ready, and to stop.
const patience = 30 * time.Second

// versions are those of the specification that nothing may fail in: the newest release, and what comes.
func versions() []string { return []string{"1.1", "dev"} }

func TestOneNode(t *testing.T) {
	program, binary := os.Getenv("CONFORMANCE"), os.Getenv("ZOT")
	if program == "" || binary == "" {
		t.Skip("CONFORMANCE and ZOT do not say where the two programs are: run make conformance")
	}
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			address := startNode(t, binary)
			results := filepath.Join(os.Getenv("RESULTS"), "conformance-"+version)
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(),
				"OCI_REGISTRY="+address, "OCI_TLS=disabled", "OCI_VERSION="+version,
				"OCI_REPO1=conformance/one", "OCI_REPO2=conformance/two", "OCI_RESULTS_DIR="+results)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\nall of it is in %s", err, failures(out), results)
			}
			if !bytes.Contains(out, []byte("Conformance Test/sha512 blobs: Pass")) || !bytes.Contains(out, []byte("Conformance Result: Pass")) {
				t.Fatalf("the program did not say that it passed, or left sha512 out:\n%s", out)
			}
		})
	}
}

// failures are the lines that tell what went wrong, among the many that do not.
func failures(out []byte) string {
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ": FAIL") || strings.Contains(line, ": Error") || strings.Contains(line, "..:") {
			found = append(found, strings.TrimRight(line, "\n"))
		}
	}
	return strings.Join(found, "\n")
}

// startNode runs a node until the test ends, and returns where it listens.
func startNode(t *testing.T, binary string) string {
	t.Helper()
	root, address := t.TempDir(), freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "config.json")
	config := fmt.Sprintf(`{"storage": {"rootDirectory": %q}, "http": {"address": %q, "port": %q}}`, filepath.Join(root, "data"), host, port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer // read after the process has ended
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Process.Signal(syscall.SIGTERM) // the second cuts the wait for load balancers short
		if err := cmd.Wait(); err != nil && t.Failed() {
			t.Logf("the node ended with %v:\n%s", err, log.String())
		}
	})
	waitReady(t, "http://"+address+"/readyz")
	return address
}

// waitReady asks until the node is ready.
func waitReady(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatalf("the node is not ready: %v", err)
		}
	}
}

// freeAddress is an address at which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it was only asked for its number
	return l.Addr().String()
}
