package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// maxPage is how many entries an answer has at most: the cost of a request must not grow with the registry.
const maxPage = 1000

// page is which part of a list a client asks for.
type page struct {
	n    int // at most so many
	last string
}

// pageOf reads n and last. More than maxPage is as good as maxPage: the Link leads on.
//
// It fails with errPage.
func pageOf(r *http.Request) (page, error) {
	query := r.URL.Query()
	p := page{n: maxPage, last: query.Get("last")}
	if !query.Has("n") {
		return p, nil
	}
	n, ok := parseOffset(query.Get("n"))
	if !ok {
		return page{}, fmt.Errorf("%w: n is %.80q, not a number", errPage, query.Get("n"))
	}
	p.n = int(min(n, maxPage))
	return p, nil
}

// linkNext points to the entries behind last. It is relative and keeps what else the client asked for.
func linkNext(w *answer, r *http.Request, n int, last string) {
	query := r.URL.Query()
	query.Set("n", strconv.Itoa(n))
	query.Set("last", last)
	next := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
}
