package fsm

import (
	"fmt"
	"os"
	"testing"
)

// TestEveryCommandIsFrozen fails for a line of the table without a golden file.
func TestEveryCommandIsFrozen(t *testing.T) {
	for _, sp := range commands() {
		name := fmt.Sprintf("testdata/%s-%d.golden", sp.kind.name, sp.kind.version)
		if _, err := os.Stat(name); err != nil {
			t.Errorf("%s: call golden with a sample in its test, and run it with -update: %v", sp.kind, err)
		}
	}
}
