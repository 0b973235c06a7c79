package fsm

// ExpireAPIKeys removes keys that are over since 30 days by the date of the entry, 300 at most. Until
// then their owner sees them as expired. Readers refuse them from the first moment, by their own clock.
//
// It is never refused.
type ExpireAPIKeys struct{}

func (ExpireAPIKeys) wire() kind { return kind{"expire-api-keys", 1} }

func (ExpireAPIKeys) check() error { return nil }

func (ExpireAPIKeys) apply(t *tx) (ExpiredRemoved, error) {
	date := t.date - keptKey
	all := t.dueHashes(apiKeysUntil, date, expireAtOnce)
	for _, hash := range all {
		t.removeAPIKey(hash)
	}
	return ExpiredRemoved{Removed: len(all), More: t.due(apiKeysUntil, date)}, nil
}
