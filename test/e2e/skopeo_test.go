package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// platforms are those of the images with several.
func platforms() []ocispec.Platform {
	return []ocispec.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "s390x"}}
}

// manyPlatforms is a layout with an image of each platform, tagged with its architecture, under one
// index, tagged "all". All share a layer.
func manyPlatforms(t *testing.T, seed uint64) (layout *images.Layout, index ocispec.Descriptor) {
	t.Helper()
	layout = images.NewLayout(t)
	base := layout.Layer(seed, 3<<20)
	var all []ocispec.Descriptor
	for i, platform := range platforms() {
		own := layout.Layer(seed+1+uint64(i), 1<<20)
		image := layout.Image(platform, base, own)
		layout.Tag(platform.Architecture, image)
		all = append(all, image)
	}
	index = layout.Index(all...)
	layout.Tag("all", index)
	return layout, index
}

// onePlatform is a layout with one image, tagged "one".
func onePlatform(t *testing.T, seed uint64, layers ...int64) (layout *images.Layout, image ocispec.Descriptor) {
	t.Helper()
	layout = images.NewLayout(t)
	var all []ocispec.Descriptor
	for i, size := range layers {
		all = append(all, layout.Layer(seed+uint64(i), size))
	}
	image = layout.Image(platforms()[0], all...)
	layout.Tag("one", image)
	return layout, image
}

// in is what a client must have written into a directory, or what was made there.
func in(t *testing.T, dir string) content {
	t.Helper()
	return content(images.Digests(t, dir))
}

func skopeo(t *testing.T, arguments ...string) {
	t.Helper()
	harness.Run(t, "skopeo", append([]string{"--insecure-policy"}, arguments...)...)
}

// push has skopeo push an image, with all platforms if there are several.
func push(t *testing.T, layout *images.Layout, name, address, to string) {
	t.Helper()
	skopeo(t, "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout.Dir+":"+name, "docker://"+address+"/"+to)
}

// pull has skopeo pull an image into a directory of its own.
func pull(t *testing.T, address, from string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	skopeo(t, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+address+"/"+from, "oci:"+dir+":pulled")
	return dir
}

// again pushes an image twice: the second time no byte of a blob is sent.
func again(t *testing.T, nodes []*harness.Node, balancer *harness.Balancer) {
	t.Helper()
	one, _ := onePlatform(t, 110, 2<<20, 50)
	for _, tag := range []string{"1", "2"} {
		push(t, one, "one", balancer.Address, "skopeo/again:"+tag)
		balancer.WaitRequest(t, http.MethodPut, "/v2/skopeo/again/manifests/"+tag, http.StatusCreated)
		blobs := len(in(t, one.Dir)) - 1
		uploads := balancer.Await(t, blobs, "uploads", func(r harness.Request) bool {
			return strings.HasPrefix(r.Path, "/v2/skopeo/again/blobs/uploads/") && r.Method == http.MethodPut
		})
		if len(uploads) != blobs {
			t.Errorf("%d blobs were uploaded up to tag %s, want the %d of the first push", len(uploads), tag, blobs)
		}
		same(t, "tag "+tag, everywhere(t, nodes, "skopeo/again", tag), in(t, one.Dir))
	}
}

func TestSkopeo(t *testing.T) {
	nodes, balancer := start(t)
	one, image := onePlatform(t, 100, 5<<20, 10, 200<<10)
	many, index := manyPlatforms(t, 200)

	push(t, one, "one", balancer.Address, "skopeo/one:1")
	push(t, many, "all", balancer.Address, "skopeo/many:1")
	same(t, "one platform", everywhere(t, nodes, "skopeo/one", "1"), in(t, one.Dir))
	same(t, "many platforms", everywhere(t, nodes, "skopeo/many", "1"), in(t, many.Dir))
	same(t, "one platform, pulled", in(t, pull(t, balancer.Address, "skopeo/one:1")), in(t, one.Dir))
	same(t, "many platforms, pulled", in(t, pull(t, balancer.Address, "skopeo/many:1")), in(t, many.Dir))

	// Pushed to the first node, and at the same moment there at the last.
	push(t, one, "one", nodes[0].Address, "skopeo/direct:1")
	last := nodes[len(nodes)-1]
	same(t, "pushed to another node", in(t, pull(t, last.Address, "skopeo/direct:1")), in(t, one.Dir))

	again(t, nodes, balancer)

	// From one repository into another, and an image that lies beside what was there.
	skopeo(t, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+balancer.Address+"/skopeo/many:1", "docker://"+balancer.Address+"/skopeo/one:many")
	same(t, "copied", everywhere(t, nodes, "skopeo/one", "many"), in(t, many.Dir))

	skopeo(t, "delete", "--tls-verify=false", "docker://"+balancer.Address+"/skopeo/one:1")
	nowhere(t, nodes, "skopeo/one", "1")
	nowhere(t, nodes, "skopeo/one", image.Digest.String())
	same(t, "beside what was deleted", everywhere(t, nodes, "skopeo/one", index.Digest.String()), in(t, many.Dir))
	balancer.EveryServer(t, nodes)
}
