package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// Heads have the same limit over HTTP/2: who keeps to the protocol sends no larger one, for the server says what it takes.
func TestLargeHeadsOverHTTP2(t *testing.T) {
	t.Parallel()
	files := tlsFiles(t)
	shown := pair(t, 1)
	shown.in(t, files)
	l := serving(t, config.HTTP{TLS: files}, hclog.NewNullLogger())
	client := trusting(t, shown, nil)
	ask := func(change func(h http.Header)) (status int, header http.Header, err error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		change(r.Header)
		answer, err := client.Do(r)
		if err != nil {
			return 0, nil, err
		}
		_ = answer.Body.Close()
		if answer.ProtoMajor != 2 {
			t.Errorf("the answer is %s", answer.Proto)
		}
		return answer.StatusCode, answer.Header, nil
	}
	for range 3 { // of answers nothing is kept to refer to, and all have their headers all the same
		status, header, err := ask(func(h http.Header) { h.Set("Authorization", "Bearer "+strings.Repeat("x", 48<<10)) })
		if err != nil || status != http.StatusOK || header.Get("Content-Type") == "" {
			t.Errorf("%d %v, %v", status, header, err)
		}
	}
	for name, change := range map[string]func(h http.Header){
		"a large header": func(h http.Header) { h.Set("Authorization", "Bearer "+strings.Repeat("x", 128<<10)) },
		"many headers": func(h http.Header) {
			for n := range 5000 {
				h.Set(fmt.Sprint("X-", n), "x")
			}
		},
	} {
		status, _, err := ask(change)
		if refused := err != nil && strings.Contains(err.Error(), "limit") || status == http.StatusRequestHeaderFieldsTooLarge; !refused {
			t.Errorf("%s: %d, %v", name, status, err)
		}
	}
	if status, _, err := ask(func(http.Header) {}); err != nil || status != http.StatusOK {
		t.Errorf("afterwards: %d, %v", status, err)
	}
}
