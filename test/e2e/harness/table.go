package harness

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Tables is a DynamoDB server, which keeps its tables in memory.
type Tables struct {
	Endpoint, Region string

	process *Process
}

// Driver is a table of it as a configuration file has it, in "cacheDriver".
func (s *Tables) Driver(table string) map[string]any {
	return map[string]any{"name": "dynamodb", "endpoint": s.Endpoint, "region": s.Region, "cacheTablename": table}
}

// Kill ends the server.
func (s *Tables) Kill(t testing.TB) {
	t.Helper()
	s.process.Stop(t, syscall.SIGKILL)
}

// StartTables runs dynalite until the test ends. Whoever asks it needs credentials, and any will do.
func StartTables(t testing.TB) *Tables {
	t.Helper()
	program := filepath.Join(Program(t, "DYNALITE"), "node_modules", "dynalite", "cli.js")
	address := local(FreePorts(t, 1)[0])
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Tables{Endpoint: "http://" + address, Region: "us-east-1"}
	s.process = begin(t, "dynalite", syscall.SIGKILL, exec.CommandContext(outlasting(t), "node", program, "--host", host, "--port", port, "--createTableMs", "0"))
	Until(t, "the DynamoDB server answers", func(ctx context.Context) error { return Probe(ctx, s.Endpoint) })
	return s
}
