package api

import (
	"fmt"
	"math"
	"net/http"
	"strings"
)

// parseRange reads a Range header for content of some size. It is false for what is to be answered with the
// whole: no header, a unit that we do not know, more than one range (RFC 9110, 14.2).
//
// It fails with errRange if it is malformed, errRangeOutside if no byte of the content is in the range.
func parseRange(header string, size int64) (s span, partial bool, err error) {
	text, isBytes := strings.CutPrefix(header, "bytes=")
	if !isBytes || strings.Contains(text, ",") {
		return span{}, false, nil
	}
	first, last, found := strings.Cut(strings.TrimSpace(text), "-")
	from, fromOK := parsePosition(first)
	to, toOK := parsePosition(last)
	switch {
	case !found:
		return span{}, false, fmt.Errorf("%w: %.80q", errRange, header)
	case first == "" && toOK: // the last bytes
		s = span{max(0, size-to), min(size, to)}
	case fromOK && last == "":
		s = span{from, size - from}
	case fromOK && toOK && from <= to:
		s = span{from, min(to, size-1) - from + 1}
	default:
		return span{}, false, fmt.Errorf("%w: %.80q", errRange, header)
	}
	if s.length <= 0 {
		return span{}, false, fmt.Errorf("%w of %d bytes: %.80q", errRangeOutside, size, header)
	}
	return s, true, nil
}

// parsePosition reads digits and nothing else. A number that does not fit lies behind all content.
func parsePosition(s string) (int64, bool) {
	if n, ok := parseOffset(s); ok {
		return n, true
	}
	return math.MaxInt64 - 1, isNumber(s)
}

// rangeOf is the part of some content that a request asks for. If-Range, when it names other content, asks
// for the whole of this.
func rangeOf(r *http.Request, size int64, etag string) (s span, partial bool, err error) {
	if condition := r.Header.Get("If-Range"); condition != "" && condition != etag {
		return span{0, size}, false, nil
	}
	header, _ := field(r, "Range")
	s, partial, err = parseRange(header, size)
	if err == nil && !partial {
		s = span{0, size}
	}
	return s, partial, err
}

// contentRange is the header of a partial answer.
func contentRange(s span, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.offset, s.offset+s.length-1, size)
}
