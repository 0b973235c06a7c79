package fsm_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if anything that the package does leaves a goroutine behind: it starts none.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
