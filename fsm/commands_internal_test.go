package fsm

import (
	"fmt"
	"os"
	"slices"
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

// TestEveryBucketIsRestoredOrNot fails for a new bucket of which nobody has said what a restore does with it.
func TestEveryBucketIsRestoredOrNot(t *testing.T) {
	for _, b := range replicated() {
		if (restorable(b) >= 0) == slices.Contains(notRestored(), b) {
			t.Errorf("%s stands in both of contents and notRestored, or in none", b)
		}
	}
	if have := len(contents()) + len(notRestored()); have != len(replicated()) {
		t.Errorf("contents and notRestored have %d buckets, there are %d", have, len(replicated()))
	}
}
