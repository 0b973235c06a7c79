package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// pipes is a listener of connections within the process, whose time is that of a test.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, open := <-p
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// limitedClient is one end of a connection to a server with a handler behind limits. By do it does something beside the
// test, which ends with the connection at the latest.
func limitedClient(t *testing.T, c config.HTTP, h http.HandlerFunc) (conn net.Conn, do func(func())) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := make(pipes, 1)
	l <- theirs
	server := newServer(limited(h, c), hclog.NewNullLogger())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // waited for below
	var doing sync.WaitGroup
	t.Cleanup(func() {
		close(l)
		_, _ = ours.Close(), server.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		doing.Wait()
	})
	return ours, doing.Go
}

// readPieces reads a body as api does: each piece has its own time, and there is none between them.
func readPieces(w http.ResponseWriter, r *http.Request) error {
	control, piece := http.NewResponseController(w), make([]byte, 1)
	for {
		_ = control.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := r.Body.Read(piece)
		if errors.Is(err, io.EOF) {
			return control.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return err
		}
		_ = control.SetReadDeadline(time.Time{})
	}
}

// A client that is never silent is cut off all the same when the time of the whole request is over, whatever deadlines the
// handler sets; without a limit it never is.
func TestWholeRequestIsLimited(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits config.HTTP
		want   time.Duration // how long the handler read, or wrote
		cut    bool
	}{
		"reads in time":   {config.HTTP{ReadTimeout: time.Hour}, 100 * time.Second, false},
		"reads too long":  {config.HTTP{ReadTimeout: 25 * time.Second}, 25 * time.Second, true},
		"reads unlimited": {config.HTTP{ReadTimeout: -1, WriteTimeout: 0}, 100 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				conn, do := limitedClient(t, test.limits, func(w http.ResponseWriter, r *http.Request) { ended <- readPieces(w, r) })
				began := time.Now()
				do(func() {
					_, _ = fmt.Fprint(conn, "PUT / HTTP/1.1\r\nHost: zot\r\nContent-Length: 11\r\n\r\n")
					for range 11 {
						_, _ = fmt.Fprint(conn, "x")
						time.Sleep(10 * time.Second)
					}
				})
				err := <-ended
				if took := time.Since(began); took != test.want || errors.Is(err, os.ErrDeadlineExceeded) != test.cut || err != nil && !test.cut {
					t.Errorf("%v after %s, want the end after %s", err, took, test.want)
				}
			})
		})
	}
}

func TestWholeAnswerIsLimited(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]time.Duration{25 * time.Second: 25 * time.Second, 0: 100 * time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				conn, do := limitedClient(t, config.HTTP{WriteTimeout: limit, ReadTimeout: time.Hour}, func(w http.ResponseWriter, _ *http.Request) {
					control := http.NewResponseController(w)
					var err error
					for range 10 {
						_ = control.SetWriteDeadline(time.Now().Add(time.Hour))
						if _, err = io.WriteString(w, strings.Repeat("x", 8<<10)); err != nil {
							break
						}
						_ = control.SetWriteDeadline(time.Time{})
						time.Sleep(10 * time.Second)
					}
					ended <- err
				})
				began := time.Now()
				do(func() {
					_, _ = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: zot\r\n\r\n")
					_, _ = io.CopyN(io.Discard, conn, 20<<10) // the third piece finds nobody who takes it
					if limit == 0 {
						_, _ = io.Copy(io.Discard, conn)
					}
				})
				err := <-ended
				if took := time.Since(began); took != want || errors.Is(err, os.ErrDeadlineExceeded) != (limit > 0) {
					t.Errorf("%v after %s, want the end after %s", err, took, want)
				}
			})
		})
	}
}

// The time to read is that of the body: who has sent all of it is not taken for gone while the answer is made, and has
// the whole time again with the next request.
func TestTimeToReadEndsWithTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, do := limitedClient(t, config.HTTP{ReadTimeout: 25 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
			if err := readPieces(w, r); err != nil {
				t.Error(err)
			}
			select {
			case <-r.Context().Done():
				t.Error("the client was taken for gone")
			case <-time.After(time.Minute):
			}
			w.WriteHeader(http.StatusCreated)
		})
		answers := bufio.NewReader(conn)
		for range 2 {
			do(func() {
				_, _ = fmt.Fprint(conn, "PUT / HTTP/1.1\r\nHost: zot\r\nContent-Length: 2\r\n\r\nx")
				time.Sleep(20 * time.Second)
				_, _ = fmt.Fprint(conn, "x")
			})
			response, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusCreated {
				t.Errorf("%s", response.Status)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
