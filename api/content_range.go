package api

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// span is some bytes: from an offset on, length of them.
type span struct{ offset, length int64 }

// parseContentRange reads the Content-Range of an upload's chunk: "first-last", as the specification has it,
// or "bytes first-last/total" as HTTP does.
//
// It fails with errContentRange.
func parseContentRange(s string) (span, error) {
	text := strings.TrimSpace(s)
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, last, found := strings.Cut(strings.TrimSpace(text), "-")
	from, fromOK := parseOffset(first)
	to, toOK := parseOffset(last)
	if !found || !fromOK || !toOK || to < from {
		return span{}, fmt.Errorf("%w: %.80q is not first-last", errContentRange, s)
	}
	return span{from, to - from + 1}, nil
}

// parseOffset reads digits and nothing else, of a number to which one can be added.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n < math.MaxInt64
}

// anyOffset stands for the present end of an upload.
const anyOffset = -1

// chunkOf returns where the body of a request belongs in its upload: at anyOffset, if it does not say.
//
// It fails with errContentRange, or errLength if the body is announced with another length.
func chunkOf(r *http.Request) (offset int64, err error) {
	header := r.Header.Get("Content-Range")
	if header == "" {
		return anyOffset, nil
	}
	s, err := parseContentRange(header)
	if err != nil {
		return 0, err
	}
	if r.ContentLength >= 0 && r.ContentLength != s.length {
		return 0, fmt.Errorf("%w: %d bytes, Content-Range has %d", errLength, r.ContentLength, s.length)
	}
	return s.offset, nil
}
