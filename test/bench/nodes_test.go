package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// process is a node in a process of its own.
type process struct {
	config nodeConfig
	cmd    *exec.Cmd
}

// processes makes the configurations of count nodes on free ports, and starts them.
func processes(tb testing.TB, count int) []*process {
	tb.Helper()
	root := tb.TempDir()
	var all []*process
	var seeds []string
	for i := range count {
		name := fmt.Sprintf("n%d", i+1)
		all = append(all, &process{config: nodeConfig{
			Dir: filepath.Join(root, name), Name: name, Address: freeAddress(tb), Control: freeAddress(tb),
		}})
		seeds = append(seeds, all[i].config.Address)
	}
	for _, p := range all {
		p.config.Seeds = seeds
		p.start(tb)
	}
	tb.Cleanup(func() {
		for _, p := range all {
			p.kill()
		}
	})
	return all
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding does not wait
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (p *process) start(tb testing.TB) {
	tb.Helper()
	config, err := json.Marshal(p.config)
	if err != nil {
		tb.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0]) //nolint:noctx // it is ended by kill or stop
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(config))
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
}

func (p *process) kill() { p.end(syscall.SIGKILL) }

func (p *process) end(s os.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s) // it may have ended
	_ = p.cmd.Wait()            // by a signal, so always an error
	p.cmd = nil
}

// ask sends a request to a node's port of control; false if it failed.
func (p *process) ask(ctx context.Context, method, path string) (string, bool) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+p.config.Control+path, nil)
	if err != nil {
		return "", false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", false
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return string(body), err == nil && answer.StatusCode == http.StatusOK
}

// until repeats a request every millisecond until it succeeds.
func (p *process) until(tb testing.TB, method, path string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	for {
		if _, ok := p.ask(ctx, method, path); ok {
			return
		}
		t := time.NewTimer(time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			tb.Fatalf("%s %s at %s never succeeded", method, path, p.config.Name)
		}
	}
}

// leader waits until one of the nodes leads.
func leader(tb testing.TB, all []*process) *process {
	tb.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		for _, p := range all {
			if answer, ok := p.ask(tb.Context(), http.MethodGet, "/leads"); ok && answer == "true" {
				return p
			}
		}
	}
	tb.Fatal("nobody leads")
	return nil
}

// rss is the anonymous resident memory of a process, in bytes.
func (p *process) rss(tb testing.TB) float64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "RssAnon: %f kB", &kib); n == 1 { // other lines do not match
			return kib * 1024
		}
	}
	tb.Fatal("no RssAnon")
	return 0
}
