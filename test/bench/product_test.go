package bench

import (
	"context"
	"errors"
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

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/fsm"
)

// BenchmarkStartOfTheProduct measures the start of the built binary, which ZOT names, on a large store: from
// the start of the process to the first manifest and the first blob that it serves, and the anonymous memory
// that it has then.
func BenchmarkStartOfTheProduct(b *testing.B) {
	binary := os.Getenv("ZOT")
	if binary == "" {
		b.Skip("ZOT does not say where the program is: make build, then ZOT=bin/zot")
	}
	root, address := b.TempDir(), freeAddress(b)
	contents := map[blobstore.CopyID]string{}
	incarnation := fill(b, nodeConfig{Dir: filepath.Join(root, "node"), Name: "n1", Address: freeAddress(b)}, func(id fsm.CopyID, content string) {
		contents[blobstore.CopyID(id)] = content
	})
	check(b, disk.Create(disk.Config{Dir: root, Incarnation: blobstore.Incarnation(incarnation), Name: fsm.DefaultStore}))
	for id, content := range contents {
		check(b, os.WriteFile(filepath.Join(root, "copies", id.String()[:2], id.String()), []byte(content), 0o600))
	}
	host, port, err := net.SplitHostPort(address)
	check(b, err)
	file := filepath.Join(root, "config.json")
	check(b, os.WriteFile(file, fmt.Appendf(nil, `{"storage": {"rootDirectory": %q}, "http": {"address": %q, "port": %q}, "log": {"level": "error"}}`, root, host, port), 0o600))
	took, memory := time.Duration(0), 0.0
	for b.Loop() {
		cmd := exec.CommandContext(context.WithoutCancel(b.Context()), binary, "serve", file, "--drain-wait", "0s")
		cmd.Stderr = os.Stderr
		began := time.Now()
		check(b, cmd.Start())
		p := &process{cmd: cmd}
		served(b, "http://"+address+"/v2/team1/app1/manifests/v1", "1 "+strings.Repeat("x", 900))
		served(b, "http://"+address+"/v2/team1/app1/blobs/"+pack(b, "blob 1 0").String(), "blob 1 0")
		took = time.Since(began)
		memory = p.rss(b)
		check(b, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
	}
	b.ReportMetric(float64(took.Milliseconds()), "start-ms")
	b.ReportMetric(memory/(1<<20), "RssAnon-MiB")
}

// served waits until a URL is answered with this content.
func served(b *testing.B, url, want string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	said := ""
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		check(b, err)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			body, err := io.ReadAll(response.Body)
			check(b, errors.Join(err, response.Body.Close()))
			if response.StatusCode == http.StatusOK && string(body) == want {
				return
			}
			said = response.Status + " " + string(body)
		}
		<-retry.C
	}
	b.Fatalf("%s was never served: %s", url, said)
}
