package fsm

// KeptResults is how many results are kept for retries.
func (v View) KeptResults() int { return v.countRecords(requests, -1) }
