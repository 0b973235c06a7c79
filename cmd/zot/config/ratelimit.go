package config

import (
	"net/http"
	"slices"
	"strings"
)

// RateLimit is how many requests a second clients may send.
type RateLimit struct {
	Method string // "": any
	Rate   int    // of the whole cluster, and of each client
}

// readRateLimit reads a limit for all requests, and one for each method that is named.
func readRateLimit(s *section, all *[]RateLimit) {
	if rate, given := readRate(s); given {
		*all = append(*all, RateLimit{Rate: rate})
	}
	s.sections("methods", func(s *section) {
		method := ""
		s.text("method", &method)
		rate, given := readRate(s)
		l := RateLimit{Method: strings.ToUpper(method), Rate: rate}
		switch {
		case !given:
			s.problem(s.key("rate"), "give requests per second, 1 or more", "is missing")
		case l.Method == "":
			s.problem(s.key("method"), `name one, as "GET"`, "is missing")
		case !slices.Contains(methods(), l.Method):
			s.note(s.key("method"), "%q is no method that clients use: the limit says nothing", method)
		}
		*all = append(*all, l)
	})
}

// methods are those that somebody answers.
func methods() []string {
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}

func readRate(s *section) (rate int, given bool) {
	before := len(s.problems)
	s.number("rate", &rate)
	given = s.has("rate")
	if given && rate < 1 && len(s.problems) == before {
		s.problem(s.key("rate"), "give requests per second, 1 or more, or leave it out for any number", "%d lets nobody in", rate)
	}
	return rate, given
}
