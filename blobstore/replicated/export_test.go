package replicated

import "context"

// Poll asks all members how they are, once.
func (s *Store) Poll(ctx context.Context) { s.poll(ctx) }

// Pushes is how many uploads something is known of beside what the local store knows.
func (s *Store) Pushes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pushes)
}

// Running reports whether Run has begun.
func (s *Store) Running() bool { return s.tasks.running() }
