package replicated

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// maxQuery is how long the parameters of a request may be; maxHolders is how many holders they may name.
const (
	maxQuery   = 8 << 10
	maxHolders = 64
)

// query is the parameters of a request, taken one by one. What is wrong with them is kept until end.
type query struct {
	values url.Values
	err    error
}

// parseQuery takes a query apart.
func parseQuery(raw string) *query {
	if len(raw) > maxQuery {
		return &query{err: fmt.Errorf("%w: %d bytes of parameters", errBadRequest, len(raw))}
	}
	values, err := url.ParseQuery(raw)
	q := &query{values: values}
	if err != nil {
		q.refuse("parameters", err)
	}
	return q
}

func (q *query) refuse(what string, err error) {
	if q.err == nil {
		q.err = fmt.Errorf("%w: %s: %w", errBadRequest, what, err)
	}
}

// end returns the first thing that was wrong. A parameter that nobody took is wrong: it would mean something
// to whoever sent it.
func (q *query) end() error {
	for name := range q.values {
		if q.err == nil {
			q.err = fmt.Errorf("%w: parameter %.50q", errBadRequest, name)
		}
	}
	return q.err
}

// text takes a parameter that is there at most once.
func (q *query) text(name string) string {
	values := q.values[name]
	delete(q.values, name)
	if len(values) > 1 {
		q.refuse(name, fmt.Errorf("is there %d times", len(values)))
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// number takes a number that is there, is not negative and is written in the one way.
func (q *query) number(name string) int64 {
	s := q.text(name)
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n < 0 || number(n) != s) {
		err = fmt.Errorf("%.30q is no number", s)
	}
	if err != nil {
		q.refuse(name, err)
	}
	return n
}

// digest checks a digest.
func (q *query) digest(s string) digest.Digest {
	d := digest.Digest(s)
	if err := blobstore.CheckDigest(d); err != nil {
		q.refuse("digest", err)
	}
	return d
}

// hint takes an algorithm that may be missing.
func (q *query) hint() digest.Algorithm {
	a := digest.Algorithm(q.text("hint"))
	if _, err := blobstore.NewHash(a); err != nil {
		q.refuse("hint", err)
	}
	return a
}

func (q *query) copyID(name, s string) blobstore.CopyID {
	id, err := blobstore.ParseCopyID(s)
	if err != nil {
		q.refuse(name, err)
	}
	return id
}

func (q *query) uploadID(s string) blobstore.UploadID {
	id, err := blobstore.ParseUploadID(s)
	if err != nil {
		q.refuse("upload", err)
	}
	return id
}

// forRepair is what a piece of a copy is read for, if it is not for a client.
const forRepair = "repair"

// repair takes what a piece of a copy is read for.
func (q *query) repair() bool {
	s := q.text("for")
	if s != "" && s != forRepair {
		q.refuse("for", fmt.Errorf("%.30q is unknown", s))
	}
	return s == forRepair
}

// holders takes the locations of a blob.
func (q *query) holders() []blobstore.Location {
	values := q.values["from"]
	delete(q.values, "from")
	if len(values) > maxHolders {
		q.refuse("from", fmt.Errorf("names %d holders", len(values)))
		return nil
	}
	all := make([]blobstore.Location, 0, len(values))
	for _, v := range values {
		node, id, _ := strings.Cut(v, ".")
		// An incarnation has the shape of a copy id.
		all = append(all, blobstore.Location{Incarnation: blobstore.Incarnation(q.copyID("from", node)), Copy: q.copyID("from", id)})
	}
	return all
}
