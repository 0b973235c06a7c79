package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// A node over TLS takes a push and answers a pull, all over HTTP/2.
func TestServeOverTLS(t *testing.T) {
	t.Parallel()
	files, one := tlsFiles(t), pair(t, 1)
	one.in(t, files)
	port := freePorts(t, 1)[0]
	file := configIn(t, shortDir(t), fmt.Sprintf(`, "http": {"port": %q, "tls": {"cert": %q, "key": %q}}`, port, files.Cert, files.Key))
	c, _, err := config.LoadWithFiles(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { // waited for below
		ended <- run(ctx, setting{
			config: c, version: "test", log: hclog.NewNullLogger(),
			failStop: func(err error) { t.Errorf("the node must not go on: %v", err) },
		})
	}()
	client := trusting(t, one, nil)
	send := func(method, path string, body io.Reader) (*http.Response, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, "https://127.0.0.1:"+port+path, body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			return &http.Response{}, err.Error()
		}
		defer response.Body.Close() //nolint:errcheck // nothing is written to it
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		return response, string(b)
	}
	eventually(t, "the node is ready", func() bool {
		response, _ := send(http.MethodGet, "/readyz?for=write", http.NoBody)
		return response.StatusCode == http.StatusOK
	})

	layer := strings.Repeat("layer", 1<<20) // more than a client may send ahead
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(layer)))
	begun, said := send(http.MethodPost, "/v2/team/app/blobs/uploads/", http.NoBody)
	if begun.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %s", begun.Status, said)
	}
	// A reader of unknown length, as a client has that compresses while it sends.
	if r, said := send(http.MethodPatch, begun.Header.Get("Location"), io.MultiReader(strings.NewReader(layer))); r.StatusCode != http.StatusAccepted || r.ProtoMajor != 2 {
		t.Fatalf("%s %s %s", r.Proto, r.Status, said)
	} else if r, said := send(http.MethodPut, r.Header.Get("Location")+"?digest="+digest, http.NoBody); r.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", r.Status, said)
	}
	if r, body := send(http.MethodGet, "/v2/team/app/blobs/"+digest, http.NoBody); r.StatusCode != http.StatusOK || body != layer {
		t.Errorf("%s, %d bytes", r.Status, len(body))
	}

	asked := time.Now()
	stop()
	if err := <-ended; err != nil || time.Since(asked) > patience/2 {
		t.Errorf("ended with %v after %s, with a client that keeps its connection", err, time.Since(asked))
	}
}
