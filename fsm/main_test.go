package fsm_test

import (
	"testing"

	"github.com/seed-16d79997/zot/test/leak"
)

// TestMain fails if anything that the package does leaves a goroutine behind: it starts none.
func TestMain(m *testing.M) { leak.Main(m) }
