package fsm

import "fmt"

// KeptResults is how many results are kept for retries.
func (v View) KeptResults() int { return v.countRecords(requests, -1) }

// Dump is every record, a line each.
func (v View) Dump() (all []string) {
	for _, b := range append(replicated(), local) {
		for _, r := range v.all(b) {
			all = append(all, fmt.Sprintf("%s/%x: %x", b, r.key, r.value))
		}
	}
	return all
}

// CompactInSteps has a compaction copy fewer bytes with each step.
func (s *State) CompactInSteps(size int) { s.compactAtOnce = size }
