package api

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// span is some bytes: from an offset on, length of them.
type span struct{ offset, length int64 }

// parseContentRange reads the Content-Range of an upload's chunk: "first-last", as the specification has it,
// "bytes first-last/total", as HTTP does, or what clients make of the two. The total says nothing that we need,
// but one that cannot be shows that the rest is not to be trusted.
//
// It fails with errContentRange.
func parseContentRange(s string) (span, error) {
	text, total, hasTotal := strings.Cut(strings.TrimSpace(s), "/")
	if after, unit := strings.CutPrefix(text, "bytes"); unit && after != "" && strings.ContainsRune(" =", rune(after[0])) {
		text = after[1:]
	}
	first, last, found := strings.Cut(strings.TrimSpace(text), "-")
	from, fromOK := parseOffset(first)
	to, toOK := parseOffset(last)
	if !found || !fromOK || !toOK || to < from {
		return span{}, fmt.Errorf("%w: %.80q is not first-last", errContentRange, s)
	}
	if size, ok := parseOffset(total); hasTotal && total != "*" && (!ok || size <= to) {
		return span{}, fmt.Errorf("%w: the total of %.80q is not behind its last byte", errContentRange, s)
	}
	return span{from, to - from + 1}, nil
}

// parseOffset reads digits and nothing else, of a number to which one can be added.
func parseOffset(s string) (int64, bool) {
	if !isNumber(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n < math.MaxInt64
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// anyOffset stands for the present end of an upload.
const anyOffset = -1

// spanOf returns what part of its upload the body of a request is: at anyOffset, if it does not say.
//
// It fails with errContentRange, or errLength if the body is announced with another length.
func spanOf(r *http.Request) (span, error) {
	header, _ := field(r, "Content-Range")
	if header == "" {
		return span{anyOffset, r.ContentLength}, nil
	}
	s, err := parseContentRange(header)
	if err != nil {
		return span{}, err
	}
	if r.ContentLength >= 0 && r.ContentLength != s.length {
		return span{}, fmt.Errorf("%w: %d bytes, Content-Range has %d", errLength, r.ContentLength, s.length)
	}
	return s, nil
}

// chunkOf returns where the body of a request belongs in its upload: at anyOffset, if it does not say.
//
// It fails as spanOf does.
func chunkOf(r *http.Request) (offset int64, err error) {
	s, err := spanOf(r)
	return s.offset, err
}

// chunk is the body of a request that says by its Content-Range alone how long it is.
type chunk struct {
	io.Reader
	left int64
}

// chunkBody is the body of a request as part of an upload: with as many bytes as its Content-Range has.
func chunkBody(w *answer, r *http.Request) io.Reader {
	s, err := spanOf(r)
	if err != nil || s.offset == anyOffset || r.ContentLength >= 0 {
		return bodyOf(w, r)
	}
	return &chunk{bodyOf(w, r), s.length}
}

// Read returns errLength if there is less than was announced, or more.
func (c *chunk) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if int64(n) > c.left {
		n, c.left = int(c.left), 0
		return n, fmt.Errorf("%w: there is more than Content-Range has", errLength)
	}
	c.left -= int64(n)
	if c.left > 0 && errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%w: Content-Range has %d bytes more", errLength, c.left)
	}
	return n, err
}
