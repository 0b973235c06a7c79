package leak

import (
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// A goroutine that ends late is no leak.
func TestWait(t *testing.T) { //nolint:paralleltest // the goroutines of others are some, too
	if !wait(0) {
		t.Error("nothing is left before the test")
	}
	release := make(chan struct{})
	go func() { <-release }()
	if wait(0) {
		t.Error("one is left")
	}
	time.AfterFunc(time.Second, func() { close(release) })
	if !wait(time.Minute) {
		t.Error("nothing is left any more")
	}
}
