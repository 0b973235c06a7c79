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

// Travel is an error as another node gets it.
func Travel(err error) error {
	f, _ := describe(err)
	return decodeFailure(f.encode())
}

// Code is what an error is called on the wire.
func Code(err error) string {
	f, _ := describe(err)
	return f.Code
}

// Fields is what an error says beside its code.
func Fields(err error) any {
	f, _ := describe(err)
	f.Message = ""
	return f
}

// DecodeFailure reads an error that came over the wire.
func DecodeFailure(s string) error { return decodeFailure(s) }
