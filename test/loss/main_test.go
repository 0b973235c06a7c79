// Package loss has nodes lose their disks, leave, be emptied and go away, and looks that no blob is lost which
// was acknowledged. It knows the product as its users do: real processes, HTTP, and the commands of `zot`.
//
// `make loss` runs it. Start with TestThreeDisksOfFiveAreLost; ledger_test.go has what is pushed and must be
// found, watch_test.go what is waited for.
package loss_test

import (
	"os"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// two is the section "cluster" of nodes that keep two copies, and wait for both.
func two() map[string]any { return map[string]any{"replicas": 2, "writeAcks": 2} }
