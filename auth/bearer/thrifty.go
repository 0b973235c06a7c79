package bearer

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	issuerTimeout = 5 * time.Second  // of a request to an issuer
	issuerPause   = 10 * time.Second // between two for the same: whoever makes up keys of tokens has it asked no more often
	maxAnswer     = 1 << 20          // of it, in bytes
)

// thrifty is a transport to an issuer that repeats what was answered a moment ago, and that nothing was.
type thrifty struct {
	to http.RoundTripper

	mu    sync.Mutex // held while the issuer is asked: it is asked one thing at a time
	known map[string]reply
}

type reply struct {
	at     time.Time
	status int
	header http.Header
	body   []byte
	err    error
}

// RoundTrip asks the issuer, unless it has just answered.
func (t *thrifty) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	url := r.URL.String()
	a, known := t.known[url]
	if !known || time.Since(a.at) >= issuerPause {
		a = t.ask(r)
		if t.known == nil || len(t.known) > 4 { // there are two: where keys are, and the keys
			t.known = map[string]reply{}
		}
		t.known[url] = a
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Header: a.header.Clone(), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(a.body)), Body: io.NopCloser(bytes.NewReader(a.body)),
	}, nil
}

func (t *thrifty) ask(r *http.Request) reply {
	a := reply{at: time.Now()}
	answer, err := t.to.RoundTrip(r)
	if err != nil {
		a.err = err
		return a
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	a.status, a.header = answer.StatusCode, answer.Header
	if a.body, a.err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1)); len(a.body) > maxAnswer {
		a.err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return a
}

// CloseIdleConnections is for http.Client.
func (t *thrifty) CloseIdleConnections() {
	if to, is := t.to.(*http.Transport); is {
		to.CloseIdleConnections()
	}
}
