package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// While bits rot in the blob files of one node, its clients get every byte right, from other copies.
func TestBitRot(t *testing.T) {
	t.Parallel()
	const size = 3<<20 + 12345
	at, roots, _ := three(t)
	content := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	sent(t, http.MethodPost, at[1]+"/v2/team/app/blobs/uploads/?digest="+digest, string(content), http.StatusCreated)
	small := "a blob of one chunk"
	smaller := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(small)))
	sent(t, http.MethodPost, at[1]+"/v2/team/app/blobs/uploads/?digest="+smaller, small, http.StatusCreated)
	eventually(t, "the node has a copy of each", func() bool { return len(copiesIn(t, roots[0])) == 2 })

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
				wantPart(t, at[0], digest, content, from, to)
				wantPart(t, at[0], digest, content, 0, size-1)
				wantPart(t, at[0], smaller, []byte(small), 0, len(small)-1)
			}
		})
	}
	for range 40 {
		for _, file := range copiesIn(t, roots[0]) {
			flipBit(t, file, rng)
		}
	}
	close(rotten)
	clients.Wait()
}

// wantPart reads bytes from to to of a blob, which must be those of content.
func wantPart(t *testing.T, node, digest string, content []byte, from, to int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, node+"/v2/team/app/blobs/"+digest, http.NoBody)
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
		t.Errorf("bytes %d to %d of %d: %s, %d bytes, right %t, %v", from, to, len(content), response.Status, len(body), bytes.Equal(body, content[from:to+1]), err)
	}
}

// copiesIn are the files with blobs below a root directory.
func copiesIn(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "copies"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == "" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flipBit flips one bit of a file.
func flipBit(t *testing.T, file string, rng *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
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
