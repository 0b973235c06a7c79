// Package conformance_test runs the distribution specification's own program against the built binary:
// one node, and three nodes behind a load balancer that sends each request to another one.
//
// `make conformance` builds both and says where they are, in ZOT and CONFORMANCE. Start with
// TestOneNode; what the program found in detail is under RESULTS.
package conformance_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// versions are those of the specification that nothing may fail in: the newest release, and what comes.
func versions() []string { return []string{"1.1", "dev"} }

func TestOneNode(t *testing.T) {
	program := harness.Program(t, "CONFORMANCE")
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			node := harness.Start(t, 1)[0]
			conform(t, program, node.Address, version, "conformance-"+version)
		})
	}
}

// What is below a sub-path is in a store of its own.
func TestSubPath(t *testing.T) {
	program := harness.Program(t, "CONFORMANCE")
	disk := filepath.Join(t.TempDir(), "disk")
	node := harness.StartStored(t, 1, map[string]any{"subPaths": map[string]any{"/conformance": map[string]any{"rootDirectory": disk}}})[0]
	conform(t, program, node.Address, "dev", "conformance-sub-path")
	if copies, err := filepath.Glob(filepath.Join(disk, "copies", "*", "*")); err != nil || len(copies) == 0 {
		t.Errorf("nothing was put into the store of the sub-path: %v", err)
	}
}

func TestThreeNodes(t *testing.T) {
	program := harness.Program(t, "CONFORMANCE")
	if _, err := exec.LookPath("haproxy"); err != nil && os.Getenv("CI") == "true" {
		t.Fatal("haproxy is not installed: run make e2e-deps") // nobody would see that it was skipped
	} else if err != nil {
		t.Skip("haproxy is not installed, so nothing was run against three nodes: make e2e-deps installs it")
	}
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			nodes := harness.Start(t, 3)
			balancer := harness.Balance(t, "../../deploy/haproxy/haproxy.cfg", nodes...)
			conform(t, program, balancer.Address, version, "conformance-three-"+version)
			balancer.EveryServer(t, nodes)
		})
	}
}

// One bucket is the store of all three.
func TestThreeNodesOneBucket(t *testing.T) {
	program := harness.Program(t, "CONFORMANCE")
	if _, err := exec.LookPath("haproxy"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("haproxy is not installed: make e2e-deps installs it")
	}
	bucket := harness.StartBucket(t)
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			nodes := harness.StartStored(t, 3, map[string]any{"storageDriver": bucket.Driver("/conformance")})
			balancer := harness.Balance(t, "../../deploy/haproxy/haproxy.cfg", nodes...)
			conform(t, program, balancer.Address, version, "conformance-bucket-"+version)
			balancer.EveryServer(t, nodes)
		})
	}
}

// conform runs the program against a registry, and fails unless all of it passes.
func conform(t *testing.T, program, address, version, name string) {
	t.Helper()
	dir := filepath.Join(os.Getenv("RESULTS"), name)
	if os.Getenv("RESULTS") == "" {
		dir = t.TempDir()
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(),
		"OCI_REGISTRY="+address, "OCI_TLS=disabled", "OCI_VERSION="+version,
		"OCI_REPO1=conformance/one", "OCI_REPO2=conformance/two", "OCI_RESULTS_DIR="+dir)
	out, err := cmd.CombinedOutput()
	found, unread := failures(filepath.Join(dir, "junit.xml"))
	switch {
	case err != nil && unread != nil:
		t.Fatalf("%v\n%s\nno report: %v", err, out, unread)
	case err != nil || unread != nil || found != "":
		t.Fatalf("%v, %v\n%s\nall of it is in %s", err, unread, found, dir)
	case !bytes.Contains(out, []byte("Conformance Test/sha512 blobs: Pass")) || !bytes.Contains(out, []byte("Conformance Result: Pass")):
		t.Fatalf("the program did not say that it passed, or left sha512 out:\n%s", out)
	}
}
