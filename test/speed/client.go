package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// repository is where everything is pushed to.
const repository = "speed/app"

// dockerChunk is how much Docker's client writes at once: it copies its layers through a pipe.
const dockerChunk = 32 << 10

// client is one client, with a connection of its own to each node, which it keeps. It asks the nodes in turn.
type client struct {
	http  *http.Client
	nodes []string
	next  int
	sink  []byte // what it reads bodies into
}

func newClient(r *registry) *client {
	t := &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		WriteBufferSize: 256 << 10, ReadBufferSize: 64 << 10,
	}
	return &client{http: &http.Client{Transport: t}, nodes: r.addresses, sink: make([]byte, 1<<20)}
}

// close gives the connections back.
func (c *client) close() { c.http.CloseIdleConnections() }

// ask sends one request to the next node, and returns the answer's header once its body was read.
func (c *client) ask(ctx context.Context, want int, r *http.Request) (http.Header, int64, error) {
	r.URL.Scheme, r.URL.Host = "http", c.nodes[c.next%len(c.nodes)]
	c.next++
	answer, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	n, err := c.drain(answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if err == nil && answer.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %s", r.Method, r.URL, answer.Status, c.sink[:min(n, 512)])
	}
	return answer.Header, n, err
}

// drain reads a body in large pieces, which come from the connection without a copy between.
func (c *client) drain(body io.Reader) (total int64, err error) {
	for {
		n, err := body.Read(c.sink)
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// head and get fail if what they are told of, or get, has not the given length.
func (c *client) head(ctx context.Context, path string, size int64) error {
	h, _, err := c.ask(ctx, http.StatusOK, newRequest(http.MethodHead, path, nil))
	if err == nil && h.Get("Content-Length") != fmt.Sprint(size) {
		err = fmt.Errorf("HEAD %s: length %s, not %d", path, h.Get("Content-Length"), size)
	}
	return err
}

func (c *client) get(ctx context.Context, path string, size int64) error {
	_, n, err := c.ask(ctx, http.StatusOK, newRequest(http.MethodGet, path, nil))
	if err == nil && n != size {
		err = fmt.Errorf("GET %s: %d bytes, not %d", path, n, size)
	}
	return err
}

// pushChunked pushes a blob as Docker does: POST, PATCH with a body of no announced length, PUT without one.
func (c *client) pushChunked(ctx context.Context, b blob) error {
	location, err := c.begin(ctx)
	if err != nil {
		return err
	}
	patch := newRequest(http.MethodPatch, "", struct{ io.Reader }{smallReads{b.reader()}})
	patch.URL = location
	h, _, err := c.ask(ctx, http.StatusAccepted, patch)
	if err != nil {
		return err
	}
	if location, err = next(h); err != nil {
		return err
	}
	return c.finish(ctx, location, b.digest, nil, 0)
}

// pushWhole pushes a blob in two requests: POST, PUT with the bytes.
func (c *client) pushWhole(ctx context.Context, b blob) error {
	location, err := c.begin(ctx)
	if err != nil {
		return err
	}
	return c.finish(ctx, location, b.digest, b.reader(), b.size())
}

func (c *client) begin(ctx context.Context) (*url.URL, error) {
	h, _, err := c.ask(ctx, http.StatusAccepted, newRequest(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil))
	if err != nil {
		return nil, err
	}
	return next(h)
}

func (c *client) finish(ctx context.Context, location *url.URL, d digest.Digest, body io.Reader, size int64) error {
	put := newRequest(http.MethodPut, "", body)
	put.ContentLength = size
	query := location.Query()
	query.Set("digest", d.String())
	put.URL = location
	put.URL.RawQuery = query.Encode()
	_, _, err := c.ask(ctx, http.StatusCreated, put)
	return err
}

// next is where an upload goes on.
func next(h http.Header) (*url.URL, error) { return url.Parse(h.Get("Location")) }

// putManifest pushes a manifest under a tag.
func (c *client) putManifest(ctx context.Context, tag string, body []byte) error {
	put := newRequest(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, bytes.NewReader(body))
	put.ContentLength = int64(len(body))
	put.Header.Set("Content-Type", mediaType)
	_, _, err := c.ask(ctx, http.StatusCreated, put)
	return err
}

// newRequest has no host yet.
func newRequest(method, path string, body io.Reader) *http.Request {
	r := &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{}, ProtoMajor: 1, ProtoMinor: 1}
	if body != nil {
		r.Body = io.NopCloser(body)
		r.ContentLength = -1
	}
	if strings.Contains(path, "/manifests/") {
		r.Header.Set("Accept", mediaType)
	}
	return r
}

// smallReads gives at most dockerChunk at once.
type smallReads struct{ r io.Reader }

func (s smallReads) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), dockerChunk)]) }
