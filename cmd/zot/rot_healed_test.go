package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// scrubEvery is the interval of the nodes that are tested here.
const scrubEvery = 4 * time.Second

// startScrubbing starts a process that hashes all its copies again at a short interval.
func (p *process) startScrubbing() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), self, "serve", p.file, "--drain-wait", "0s")
	cmd.Env = append(os.Environ(), asZotScrubbing+"="+scrubEvery.String())
	p.launch(cmd)
}

// goodCopies are the digests of what is in the files of copies, each with the number of files.
func goodCopies(t *testing.T, root string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, file := range copiesIn(t, root) {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("sha256:%x", sha256.Sum256(b))]++
	}
	return all
}

// Bits flip and files are cut and lost on one node while clients of all three read: whatever comes to its end is
// right. Then each node has a good copy of everything again, also of what nobody reads, and of what was good on
// one node alone.
func TestBitRotIsHealed(t *testing.T) {
	t.Parallel()
	all := threeNodes(t)
	for _, p := range all {
		p.startScrubbing()
	}
	for _, p := range all {
		p.ready("/readyz?for=write")
	}
	at := func(n int) string { return "http://127.0.0.1:" + all[n].port }
	rng := rand.New(rand.NewPCG(5, 6))
	blobs := map[string]string{}
	for what, size := range map[string]int{"large": 3<<20 + 12345, "larger": 5 << 20, "small": 100, "cut": 1 << 20, "lost": 3000, "nobody reads": 2 << 20, "on one node": 600_000} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		blobs[what] = string(content)
	}
	for what, content := range blobs {
		pushImage(t, at(0), "team/app", strings.ReplaceAll(what, " ", "-"), content)
	}
	whole := func(n int) bool {
		good := goodCopies(t, all[n].root)
		for _, content := range blobs {
			if good[digestOf([]byte(content))] != 1 {
				return false
			}
		}
		return len(good) == len(blobs)
	}
	for n, p := range all {
		eventually(t, "each node has a copy of each, and knows it", func() bool { return whole(n) && p.status().Blobs == blobHealth{} })
	}

	var clients sync.WaitGroup
	healed := make(chan struct{})
	defer clients.Wait()
	stop := sync.OnceFunc(func() { close(healed) })
	defer stop()
	for n := range all {
		clients.Go(func() {
			for {
				for what, content := range blobs {
					select {
					case <-healed:
						return
					default:
					}
					if what == "nobody reads" {
						continue
					}
					url, size := at(n)+"/v2/team/app/blobs/"+digestOf([]byte(content)), len(content)
					wantPart(t, url, []byte(content), 0, size-1)
					wantPart(t, url, []byte(content), size/3, size/2)
				}
			}
		})
	}
	for _, what := range []string{"large", "larger", "small", "nobody reads", "on one node"} {
		flipBit(t, copyWith(t, all[1].root, blobs[what]), rng)
	}
	flipBit(t, copyWith(t, all[2].root, blobs["on one node"]), rng)
	cut, lost := copyWith(t, all[1].root, blobs["cut"]), copyWith(t, all[1].root, blobs["lost"])
	if err := errors.Join(os.Truncate(cut, 300_000), os.Remove(lost)); err != nil {
		t.Fatal(err)
	}
	for n := range all {
		eventually(t, all[n].name+" has a good copy of each again", func() bool { return whole(n) })
	}
	stop()
	clients.Wait()
	all[0].finds(nil, "--hash")
	for what, n := range map[string]int{"nobody-reads": 1, "on-one-node": 2} {
		eventually(t, all[n].name+" says that "+what+" was affected", func() bool { // at the end of its pass
			said := all[n].out.String()
			return strings.Contains(said, `"status":"affected"`) && strings.Contains(said, `"tag":"`+what+`"`)
		})
	}
	for _, p := range all {
		if code := p.end(syscall.SIGTERM); code != exitDone {
			t.Errorf("%s ended with %d", p.name, code)
		}
	}
}
