package peer

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestNoAnswerWhenRunEnds: what a handler says after its context has ended is no answer, or a caller would take
// "context canceled" for the outcome of what it asked for. A code that the handler chose is one.
func TestNoAnswerWhenRunEnds(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		ended  bool
		aborts bool
		status int
	}{
		"ended":                  {err: context.Canceled, ended: true, aborts: true},
		"ended, with a code":     {err: &RemoteError{Code: "unknown"}, ended: true, status: http.StatusBadRequest},
		"ended, with an answer":  {ended: true, status: http.StatusOK},
		"an error of its own":    {err: errors.New("disk full"), status: http.StatusInternalServerError},
		"cancelled by itself":    {err: context.Canceled, status: http.StatusInternalServerError},
		"nothing has gone amiss": {status: http.StatusOK},
		"a code that is wrapped": {err: errors.Join(errors.New("more"), &RemoteError{Code: "unknown"}), status: http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{peer: &Peer{logger: hclog.NewNullLogger()}, handlers: map[string]Handler{
				"/x": func(context.Context, Caller, []byte) ([]byte, error) { return nil, test.err },
			}}
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), callerKey{}, Caller{Node: "zot-1"}))
			defer cancel()
			if test.ended {
				cancel()
			}
			answer := httptest.NewRecorder()
			defer func() {
				cause := recover()
				if err, _ := cause.(error); errors.Is(err, http.ErrAbortHandler) != test.aborts {
					t.Errorf("panics with %v", cause)
				}
				if !test.aborts && answer.Code != test.status {
					t.Errorf("answers %d %s", answer.Code, answer.Body)
				}
			}()
			a.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, "/x", strings.NewReader("")))
		})
	}
}

func TestBodyTooLargeIsRefused(t *testing.T) {
	a := &api{peer: &Peer{logger: hclog.NewNullLogger()}}
	ctx := context.WithValue(t.Context(), callerKey{}, Caller{Node: "zot-1"})
	answer := httptest.NewRecorder()
	a.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, "/x", bytes.NewReader(make([]byte, MaxBody+1))))
	if answer.Code != http.StatusRequestEntityTooLarge || !strings.Contains(answer.Body.String(), CodeTooLarge) {
		t.Errorf("answers %d %s", answer.Code, answer.Body)
	}
}
