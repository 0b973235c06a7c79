package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// While images are pushed and deleted, their blobs collected, and leaders come and go, nothing is said to be broken.
func TestVerifyUnderLoad(t *testing.T) {
	t.Parallel()
	ports, dir := freePorts(t, 6), shortDir(t)
	secret := filepath.Join(dir, "secret")
	put(t, secret, strings.Repeat("secret", 8))
	var files []string
	var starting sync.WaitGroup
	for n := range 3 {
		file := filepath.Join(dir, fmt.Sprintf("%d.json", n))
		put(t, file, fmt.Sprintf(`{"storage": {"rootDirectory": %q, "gcDelay": "5s", "gcInterval": "1s"}, "http": {"port": %q}, "cluster": {"name": "load", `+
			`"node": "n%d", "listen": "127.0.0.1:%s", "advertise": "127.0.0.1:%s", "members": ["127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"], "secretFile": %q}}`,
			filepath.Join(dir, strconv.Itoa(n)), ports[n], n, ports[3+n], ports[3+n], ports[3], ports[4], ports[5], secret))
		files = append(files, file)
		starting.Go(func() { started(t, file) })
	}
	starting.Wait()

	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	pushed := make([]atomic.Int64, 4)
	for w := range pushed {
		working.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if pushAndDelete(ctx, "http://127.0.0.1:"+ports[(w+i)%3]+"/v2/team/app/", fmt.Sprintf("%d of %d", i, w)) {
					pushed[w].Add(1)
				}
			}
		})
	}
	defer func() { stop(); working.Wait() }()
	began := time.Now()
	for i := 0; i < 2 || time.Since(began) < 8*time.Second; i++ { // what is pushed first is collected by then
		if i%2 == 1 {
			call("cluster", "transfer", "--config", files[0]) // it may be refused: then the leader stays
		}
		got := call("cluster", "verify", "--hash", "--config", files[i%3])
		if got.code != exitDone && !strings.Contains(got.stderr, "nothing is broken") || strings.Contains(got.stdout, "hint") {
			t.Errorf("%+v", got)
		}
		t.Log(got.stdout)
	}
	for w := range pushed {
		eventually(t, fmt.Sprintf("worker %d pushes something", w), func() bool { return pushed[w].Load() > 0 })
	}
	stop()
	working.Wait()
	eventually(t, "all could be checked", func() bool {
		got := call("cluster", "verify", "--hash", "--config", files[0])
		if got.code != exitDone && !strings.Contains(got.stderr, "nothing is broken") {
			t.Fatalf("%+v", got)
		}
		return got.code == exitDone
	})
}

// pushAndDelete pushes an image of two layers, one of which others have too, and deletes it. A request may be
// refused while there is no leader: then it reports false.
func pushAndDelete(ctx context.Context, at, name string) bool {
	layer, shared := "layer "+name, "the layer that all have"
	var described []string
	for _, l := range []string{layer, shared} {
		if !does(ctx, http.MethodPost, at+"blobs/uploads/?digest="+digestOf([]byte(l)), l, http.StatusCreated) {
			return false
		}
		described = append(described, fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":%d}`, digestOf([]byte(l)), len(l)))
	}
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + described[0] + `,"layers":[` + described[1] + `]}`
	d := digestOf([]byte(manifest))
	return does(ctx, http.MethodPut, at+"manifests/"+d, manifest, http.StatusCreated) && does(ctx, http.MethodDelete, at+"manifests/"+d, "", http.StatusAccepted)
}

// does sends a request and reports whether it was answered so.
func does(ctx context.Context, method, url, body string, status int) bool {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return false
	}
	if method == http.MethodPut {
		request.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // it is not read
	return response.StatusCode == status
}
