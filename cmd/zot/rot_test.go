package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// While bits rot in the blob files of one node, its clients get every byte right, from other copies; so they do of a
// manifest that is too large for the log.
func TestBitRot(t *testing.T) {
	t.Parallel()
	const size = 3<<20 + 12345
	met := &damages{count: map[string]int{}}
	at, roots := threeOfWhichOneTells(t, met)
	content := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	small := "a blob of one chunk"
	digest, smaller := digestOf(content), digestOf([]byte(small))
	sent(t, http.MethodPost, at[1]+"/v2/team/app/blobs/uploads/?digest="+digest, string(content), http.StatusCreated)
	sent(t, http.MethodPost, at[1]+"/v2/team/app/blobs/uploads/?digest="+smaller, small, http.StatusCreated)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/x",`+
		`"digest":%q,"size":%d},"layers":[],"annotations":{"long":%q}}`, smaller, len(small), strings.Repeat("x", 60<<10))
	image := digestOf(manifest)
	sent(t, http.MethodPut, at[1]+"/v2/team/app/manifests/"+image, string(manifest), http.StatusCreated)
	operator := configIn(t, roots[0], "")
	eventually(t, "the node has a copy of each, and knows it", func() bool {
		return len(copiesIn(t, roots[0])) == 3 && asked(t, operator).Blobs == blobHealth{}
	})

	rot := func() {
		for _, file := range copiesIn(t, roots[0]) {
			flipBit(t, file, rng)
		}
	}
	rot() // the manifest is read from its copy only once
	var clients sync.WaitGroup
	rotten := make(chan struct{})
	for n := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(n)))
			for last := false; !last; {
				select {
				case <-rotten:
					last = true
				default:
				}
				from := rng.IntN(size)
				to := from + rng.IntN(size-from)
				wantPart(t, at[0]+"/v2/team/app/blobs/"+digest, content, from, to)
				wantPart(t, at[0]+"/v2/team/app/blobs/"+digest, content, 0, size-1)
				wantPart(t, at[0]+"/v2/team/app/blobs/"+smaller, []byte(small), 0, len(small)-1)
				wantPart(t, at[0]+"/v2/team/app/manifests/"+image, manifest, 0, len(manifest)-1)
			}
		})
	}
	for range 40 {
		rot()
	}
	close(rotten)
	clients.Wait()
	for what, d := range map[string]string{"large blob": digest, "small blob": smaller, "large manifest": image} {
		if met.of(d) == 0 {
			t.Errorf("the node has met no damage in its copy of the %s, so nothing was shown", what)
		}
	}
}

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// damages counts, by digest, how often a node went on at another source because a copy was damaged. It reads the
// node's log.
type damages struct {
	mu    sync.Mutex
	count map[string]int
}

// Write takes a line.
func (d *damages) Write(line []byte) (int, error) {
	var said struct {
		Message       string `json:"@message"`
		Digest, Error string
	}
	if json.Unmarshal(line, &said) == nil && said.Message == "source of a blob failed" && strings.Contains(said.Error, "is damaged") {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.count[said.Digest]++
	}
	return len(line), nil
}

func (d *damages) of(digest string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count[digest]
}

// threeOfWhichOneTells is three, of which the first node logs all that it does.
func threeOfWhichOneTells(t *testing.T, log io.Writer) (at, roots []string) {
	t.Helper()
	ports, dir := freePorts(t, 6), shortDir(t)
	secret := filepath.Join(dir, "secret")
	put(t, secret, strings.Repeat("secret", 8))
	var starting sync.WaitGroup
	for n := range 3 {
		root := filepath.Join(dir, strconv.Itoa(n))
		file := configIn(t, root, fmt.Sprintf(`, "http": {"port": %q}, "cluster": {"name": "rot", "node": "n%d", "listen": "127.0.0.1:%s", `+
			`"advertise": "127.0.0.1:%s", "members": ["127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"], "secretFile": %q}`,
			ports[n], n, ports[3+n], ports[3+n], ports[3], ports[4], ports[5], secret))
		at, roots = append(at, "http://127.0.0.1:"+ports[n]), append(roots, root)
		starting.Go(func() {
			if n > 0 {
				started(t, file)
				return
			}
			startedLogging(t, file, hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: log, JSONFormat: true}))
		})
	}
	starting.Wait()
	return at, roots
}

// startedLogging is started with a log.
func startedLogging(t *testing.T, file string, log hclog.Logger) {
	t.Helper()
	c, _, err := config.LoadWithFiles(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, setting{
			config: c, version: "test", log: log,
			failStop: func(err error) { t.Errorf("the node must not go on: %v", err) },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := endOf(ended); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the node is ready", func() bool {
		code, _ := answers(t.Context(), c.HTTP.Port, "/readyz?for=write")
		return code == http.StatusOK
	})
}

// wantPart reads bytes from to to of a blob, or a whole manifest, which must be those of content.
func wantPart(t *testing.T, url string, content []byte, from, to int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Error(err)
		return
	}
	status := http.StatusOK
	if from > 0 || to < len(content)-1 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
		status = http.StatusPartialContent
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || !bytes.Equal(body, content[from:to+1]) {
		t.Errorf("%s: bytes %d to %d of %d: %s, %d bytes, right %t, %v", url, from, to, len(content), response.Status, len(body), bytes.Equal(body, content[from:to+1]), err)
	}
}

// copiesIn are the files with blobs below a root directory. They may go meanwhile.
func copiesIn(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "copies"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == "" {
			files = append(files, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flipBit flips one bit of a file, if it is there.
func flipBit(t *testing.T, file string, rng *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return // nobody keeps a copy that was found to be damaged
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // what it says is said by WriteAt
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, at := []byte{0}, rng.Int64N(info.Size())
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rng.IntN(8)
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
