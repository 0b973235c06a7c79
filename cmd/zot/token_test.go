package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
)

// invitingBoard is a node that makes tokens, or says why not.
type invitingBoard struct {
	board
	invited
	refused error
}

func (b *invitingBoard) Invite() (invited, error) { return b.invited, b.refused }

func TestTokenOfAnOperator(t *testing.T) {
	t.Parallel()
	made := invited{Token: "T", Address: "zot-0:7373", Expires: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	_, alone := host{}.Invite()
	for name, test := range map[string]struct {
		node   operated
		code   int
		answer string
	}{
		"made":    {&invitingBoard{invited: made}, 200, `{"token":"T","address":"zot-0:7373","expires":"2026-08-01T12:00:00Z"}`},
		"alone":   {&invitingBoard{refused: alone}, 409, `{"error":"this node is a cluster of one, which no other machine can reach. Add a section`},
		"waiting": {&invitingBoard{refused: errors.New("not yet")}, 503, `{"error":"not yet"}`},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/cluster/token", http.NoBody)
		adminHandler(test.node, &view{}).ServeHTTP(w, r)
		if got := w.Body.String(); w.Code != test.code || !strings.HasPrefix(got, test.answer) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, got, test.code, test.answer)
		}
	}
}

func TestSpendToken(t *testing.T) {
	t.Parallel()
	i := peer.Invitation{Expires: time.Now().Add(time.Hour)}
	unknown := errors.New("no leader")
	for name, test := range map[string]struct{ refusal, err, want error }{
		"spent":     {refusal: fsm.ErrTokenSpent, want: peer.ErrTokenSpent},
		"expired":   {refusal: fsm.ErrTokenExpired, want: peer.ErrTokenExpired},
		"no leader": {err: unknown, want: unknown},
	} {
		p := proposerOf(func(context.Context, []byte) (entry.Result, error) {
			return entry.Result{}, errors.Join(test.refusal, test.err)
		})
		if err := spendToken(t.Context(), p, i); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// proposerOf is a function as a fsm.Proposer.
type proposerOf func(ctx context.Context, payload []byte) (entry.Result, error)

func (f proposerOf) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	return f(ctx, payload)
}
