package config

// readScheduler reads how much is done at a time.
func readScheduler(s *section, c *Config) {
	workers := 0
	s.number("numWorkers", &workers)
	if workers < 0 {
		s.problem(s.key("numWorkers"), "give 1 or more, or leave it out", "%d is below zero", workers)
		return
	}
	c.Workers = workers
}
