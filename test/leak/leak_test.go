package leak

import (
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// A goroutine that ends late is no leak.
func TestFind(t *testing.T) { //nolint:paralleltest // the goroutines of others are some, too
	if err := find(0); err != nil {
		t.Error(err)
	}
	release := make(chan struct{})
	go func() { <-release }()
	if find(0) == nil {
		t.Error("one is left, and not found")
	}
	time.AfterFunc(time.Second, func() { close(release) })
	if err := Find(); err != nil {
		t.Error(err)
	}
}
