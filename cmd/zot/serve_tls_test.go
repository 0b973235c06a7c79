package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

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
	ask := func(method, path string, body io.Reader) reply {
		return replyOf(t, client, method, "https://127.0.0.1:"+port+path, body)
	}
	eventually(t, "the node is ready", func() bool {
		return ask(http.MethodGet, "/readyz?for=write", http.NoBody).code == http.StatusOK
	})

	layer := strings.Repeat("layer", 1<<20) // more than a client may send ahead
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(layer)))
	begun := ask(http.MethodPost, "/v2/team/app/blobs/uploads/", http.NoBody)
	if begun.code != http.StatusAccepted {
		t.Fatalf("%+v", begun)
	}
	// A reader of unknown length, as a client has that compresses while it sends.
	sent := ask(http.MethodPatch, begun.location, io.MultiReader(strings.NewReader(layer)))
	if sent.code != http.StatusAccepted || sent.proto != "HTTP/2.0" {
		t.Fatalf("%+v", sent)
	}
	if done := ask(http.MethodPut, sent.location+"?digest="+digest, http.NoBody); done.code != http.StatusCreated {
		t.Fatalf("%+v", done)
	}
	if got := ask(http.MethodGet, "/v2/team/app/blobs/"+digest, http.NoBody); got.code != http.StatusOK || got.body != layer {
		t.Errorf("%d, %d bytes", got.code, len(got.body))
	}

	stop()
	if err := endOf(ended); err != nil { // that requests were cut off is an error
		t.Errorf("ended with %v, with a client that keeps its connection", err)
	}
}

// reply is what came back.
type reply struct {
	code                  int // 0 if there is no answer, and body says why
	proto, location, body string
}

func replyOf(t *testing.T, client *http.Client, method, url string, body io.Reader) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer response.Body.Close() //nolint:errcheck // nothing is written to it
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return reply{response.StatusCode, response.Proto, response.Header.Get("Location"), string(b)}
}
