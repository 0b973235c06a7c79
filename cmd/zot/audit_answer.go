package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// auditEvery is how often an audit says how far it is.
const auditEvery = 200 * time.Millisecond

// auditLine is one of many that answer an audit. The last has a verdict, or an error.
type auditLine struct {
	Progress []auditProgress `json:"progress,omitempty"`
	Verdict  *verdict        `json:"verdict,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// answerAudit audits the cluster, which may take long, and says meanwhile how far it is.
func answerAudit(ctx context.Context, w http.ResponseWriter, body io.Reader, all surveyed) {
	var wish checkWish
	if err := json.NewDecoder(body).Decode(&wish); err != nil {
		answerJSON(w, http.StatusBadRequest, adminError{errBadRequest.Error()})
		return
	}
	var mu sync.Mutex
	latest := map[string]auditProgress{}
	ended := make(chan auditLine, 1)
	go func() { // waited for below
		v, err := all.Audit(ctx, wish, func(p auditProgress) {
			mu.Lock()
			defer mu.Unlock()
			latest[p.Node] = p
		})
		if err != nil {
			ended <- auditLine{Error: err.Error()}
			return
		}
		ended <- auditLine{Verdict: &v}
	}()
	out := newLines(w)
	beat := time.NewTicker(auditEvery)
	defer beat.Stop()
	for {
		select {
		case last := <-ended:
			out.write(last)
			return
		case <-beat.C:
		}
		mu.Lock()
		now := slices.SortedFunc(maps.Values(latest), func(a, b auditProgress) int { return cmp.Compare(a.Node, b.Node) })
		mu.Unlock()
		out.write(auditLine{Progress: now})
	}
}
