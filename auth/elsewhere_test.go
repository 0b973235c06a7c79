package auth_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
)

// Browsers say for which page they act. Whoever says nothing is no browser, or acts for nobody else.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, ExternalURL: "https://public.example/below", Origins: []string{"https://pages.example", "no origin/"}})
	for text, elsewhere := range map[string]bool{
		"":                            false, // docker, curl
		"Sec-Fetch-Site: same-origin": false,
		"Sec-Fetch-Site: none":        false, // typed into the address bar
		"Sec-Fetch-Site: cross-site":  true,
		"Sec-Fetch-Site: same-site":   true, // a neighbour's page is not ours
		"Sec-Fetch-Site: anything":    true,
		"Origin: http://registry":     false,
		"Origin: https://evil":        true,
		"Origin: null":                true, // a sandbox, or a file
		"Origin: http://registry:81":  true,
		"Sec-Fetch-Site: cross-site|Origin: https://pages.example":  false,
		"Sec-Fetch-Site: cross-site|Origin: https://public.example": false,
		"Sec-Fetch-Site: cross-site|Origin: https://registry":       true,
		"Origin: https://pages.example":                             false,
		"Origin: https://pages.example.evil":                        true,
		"Origin: http://pages.example":                              true,
		"Origin: no origin/":                                        true,
	} {
		for method, changes := range map[string]bool{"GET": false, "HEAD": false, "OPTIONS": false, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "CONNECT": true, "get": true} {
			r, err := http.NewRequestWithContext(t.Context(), method, "http://registry/v2/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(text, "|") {
				name, value, _ := strings.Cut(line, ": ")
				r.Header.Set(name, value)
			}
			if err := g.Elsewhere(r); errors.Is(err, auth.ErrElsewhere) != (elsewhere && changes) || (err != nil) != (elsewhere && changes) {
				t.Errorf("%s with %q: %v", method, text, err)
			}
		}
	}
	var none *auth.Gate
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://registry/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if err := none.Elsewhere(r); err != nil {
		t.Errorf("without a gate: %v", err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if err := none.Elsewhere(r); !errors.Is(err, auth.ErrElsewhere) {
		t.Errorf("without a gate, of another site: %v", err)
	}
}
