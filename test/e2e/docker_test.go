package e2e_test

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// load makes an image known to the engine, and returns its id. The engine forgets it when the test ends.
func load(t *testing.T, engine *harness.Engine, name string, platform int, parts ...images.Part) digest.Digest {
	t.Helper()
	r, w := io.Pipe()
	var id digest.Digest
	written := make(chan struct{})
	go func() { // waited for below
		defer close(written)
		var err error
		id, err = images.WriteArchive(w, name, platforms()[platform], parts...)
		_ = w.CloseWithError(err) // never fails
	}()
	engine.Feed(t, r, "load", "--quiet")
	<-written
	t.Cleanup(func() { engine.Forget(t, name) })
	return id
}

// holds compares the files of an image that the engine has with what was made.
func holds(t *testing.T, engine *harness.Engine, name string, id digest.Digest, parts ...images.Part) {
	t.Helper()
	if got := engine.Run(t, "image", "inspect", "--format", "{{.Id}}", name); got != id.String() {
		t.Errorf("%s is %s, want %s", name, got, id)
	}
	container := engine.Run(t, "create", name)
	defer engine.Run(t, "rm", container)
	for _, part := range parts {
		engine.Read(t, func(r io.Reader) error { return sameFile(r, part) }, "cp", container+":/"+images.FileName(part.Seed), "-")
	}
}

// sameFile compares the one file of an archive with the bytes that were made for it.
func sameFile(r io.Reader, want images.Part) error {
	archive := tar.NewReader(r)
	header, err := archive.Next()
	if err != nil {
		return err
	}
	got, err := digest.FromReader(archive)
	if err != nil {
		return err
	}
	made, err := digest.FromReader(images.Random(want.Seed, want.Size))
	if err != nil {
		return err
	}
	if header.Size != want.Size || got != made {
		return fmt.Errorf("the file has %d bytes and hashes to %s, want %d and %s", header.Size, got, want.Size, made)
	}
	return nil
}

func TestDocker(t *testing.T) {
	engine := harness.StartEngine(t)
	nodes, balancer := start(t)
	first, last := nodes[0].Address+"/docker/app:1", nodes[len(nodes)-1].Address+"/docker/app:1"
	app := balancer.Address + "/docker/app:1"
	parts := []images.Part{{Seed: 600, Size: 6 << 20}, {Seed: 601, Size: 300}, {Seed: 602, Size: 2 << 20}}
	id := load(t, engine, app, 0, parts...)

	engine.Run(t, "push", app)
	pushed := everywhere(t, nodes, "docker/app", "1")
	if !pushed[id] || len(pushed) != len(parts)+2 {
		t.Fatalf("docker/app:1 is %v, without the configuration %s or a layer", pushed.list(), id)
	}
	for _, name := range []string{app, first, last} {
		engine.Forget(t, name)
		engine.Run(t, "pull", name)
		holds(t, engine, name, id, parts...)
		engine.Forget(t, name)
	}

	dockerAgain(t, engine, nodes, balancer, app, id, parts)
	manyForDocker(t, engine, nodes, balancer)
	balancer.EveryServer(t, nodes)
}

// dockerAgain pushes what is there already: to the same repository the layers are found by HEAD, and mounted
// into another one.
func dockerAgain(t *testing.T, engine *harness.Engine, nodes []*harness.Node, balancer *harness.Balancer, app string, id digest.Digest, parts []images.Part) {
	t.Helper()
	engine.Run(t, "pull", app)
	same, other := balancer.Address+"/docker/app:2", balancer.Address+"/docker/other:1"
	for _, name := range []string{same, other} {
		engine.Run(t, "tag", app, name)
		t.Cleanup(func() { engine.Forget(t, name) })
	}
	count := func(what, text, word string) {
		if n := strings.Count(text, word); n != len(parts) {
			t.Errorf("%s: %d layers %s, want %d:\n%s", what, n, word, len(parts), text)
		}
	}
	count("the same repository", engine.Run(t, "push", same), "Layer already exists")
	count("another repository", engine.Run(t, "push", other), "Mounted from")
	if got := everywhere(t, nodes, "docker/other", "1"); !got[id] {
		t.Errorf("docker/other:1 is %v, without %s", got.list(), id)
	}
	everywhere(t, nodes, "docker/app", "2")
	engine.Forget(t, app, same, other)
	engine.Run(t, "pull", other)
	holds(t, engine, other, id, parts...)
}

// manyForDocker makes an index with docker, of images that docker pushed, and pulls each platform of it.
func manyForDocker(t *testing.T, engine *harness.Engine, nodes []*harness.Node, balancer *harness.Balancer) {
	t.Helper()
	all := balancer.Address + "/docker/many:all"
	create, ids, parts := []string{"manifest", "create", "--insecure", all}, []digest.Digest{}, []images.Part{}
	for i, platform := range platforms() {
		part := images.Part{Seed: 700 + uint64(i), Size: 1 << 20}
		name := balancer.Address + "/docker/many:" + platform.Architecture
		ids, parts = append(ids, load(t, engine, name, i, part)), append(parts, part)
		engine.Run(t, "push", name)
		create = append(create, name)
	}
	engine.Run(t, create...)
	engine.Run(t, "manifest", "push", "--insecure", "--purge", all)
	if got := everywhere(t, nodes, "docker/many", "all"); len(got) != 1+3*len(platforms()) {
		t.Errorf("docker/many:all is %v", got.list())
	}
	for i, platform := range platforms() {
		from := nodes[i%len(nodes)].Address + "/docker/many:all"
		engine.Forget(t, create[4+i])
		engine.Run(t, "pull", "--platform", platform.OS+"/"+platform.Architecture, from)
		holds(t, engine, from, ids[i], parts[i])
		engine.Forget(t, from)
	}
}
