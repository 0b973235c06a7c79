package transfer_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// TestFigures says how long an import by hard link and one of what is there take. TRANSFER_LAYER_MIB is the size of a
// layer of each image; without it nothing is measured.
func TestFigures(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv("TRANSFER_LAYER_MIB"))
	if err != nil {
		t.Skip("TRANSFER_LAYER_MIB is not set")
	}
	z := newZot(t)
	z.many(1000)
	for i := range 20 {
		repository := "large/app"
		z.list(repository, z.image(repository, nil, z.random(size<<20)), "v"+strconv.Itoa(i))
	}
	z.write()
	n := harness.Start(t, 1)[0]
	for _, what := range []string{"by hard link", "of what is there"} {
		begun := time.Now()
		c := taken(t, n, "import", z.dir)
		t.Logf("import %s: %.1f s for %+v", what, time.Since(begun).Seconds(), c)
	}
}
