package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// late is a writer whose connection has a deadline of an answer before.
type late struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (l *late) SetWriteDeadline(at time.Time) error { //nolint:unparam // as http.ResponseController asks for it
	l.deadline = at
	return nil
}

// A probe that panics is answered, without its detail, which the log has; and no answer is cut off for the time that
// one before had.
func TestProbeThatPanics(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	h := &health{node: sound(), self: sound(), stores: of(sound()), filled: func() (float64, error) { panic("secret detail") }}
	w := &late{httptest.NewRecorder(), time.Now()}
	contained(h.handler(), hclog.New(&hclog.LoggerOptions{Output: &text})).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz?for=write", http.NoBody))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !w.deadline.IsZero() {
		t.Errorf("%d %s, deadline %s", w.Code, w.Body, w.deadline)
	}
	if !strings.Contains(text.String(), "secret detail") || !strings.Contains(text.String(), "contained_test.go") {
		t.Errorf("the log has %q", text.String())
	}
}
