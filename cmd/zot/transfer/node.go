package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// Node is a Target, and a Source: a node of a cluster, through the socket of its operator. It pushes and pulls as any
// client of a registry does.
type Node struct {
	client *http.Client
	base   string
}

var (
	_ Source = (*Node)(nil)
	_ Target = (*Node)(nil)
	_ Linked = (*Node)(nil)
)

// NewNode is a node that a client reaches below an address.
func NewNode(client *http.Client, base string) *Node { return &Node{client, base} }

// How often a request is made that was not decided, and how long is waited before the next time: twice as long each
// time. Altogether it is longer than the cluster needs for a new leader.
const (
	tries       = 8
	firstPause  = 250 * time.Millisecond
	longestWait = 15 * time.Second
)

// answered is an answer that was read.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// refused is an answer that says no.
type refused struct {
	status int
	code   string
	text   string
}

// Error is what the registry says.
func (r *refused) Error() string {
	if r.code == "" {
		return fmt.Sprintf("the node answers %d %s", r.status, http.StatusText(r.status))
	}
	return fmt.Sprintf("the node answers %s: %s", r.code, r.text)
}

// Is tells what the package knows by name.
func (r *refused) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return r.status == http.StatusNotFound
	case ErrTagChanged:
		return r.status == http.StatusPreconditionFailed
	case ErrBlobMissing:
		return r.code == "MANIFEST_BLOB_UNKNOWN"
	}
	return false
}

// ask makes a request until it is decided. It fails with a *refused for every status but those of success, and with
// ErrTarget if the node is not to be had.
func (n *Node) ask(ctx context.Context, request func() (*http.Request, error)) (a answered, err error) {
	err = patiently(ctx, func() (wait time.Duration, err error) {
		a, wait, err = n.once(ctx, request)
		return wait, err
	})
	return a, err
}

// patiently tries until it is decided. A try says how long to wait at least before the next one; less than 0: there is
// none.
func patiently(ctx context.Context, try func() (wait time.Duration, err error)) error {
	pause := firstPause
	for left := tries; ; left-- {
		wait, err := try()
		if wait < 0 || ctx.Err() != nil {
			return err
		}
		if broken, ok := errors.AsType[*brokenSource](err); ok && left <= tries-attempts+1 {
			return broken
		}
		if left == 1 {
			return fmt.Errorf("%w: %w", ErrTarget, err)
		}
		t := time.NewTimer(min(max(pause, wait), longestWait))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause *= 2
	}
}

// once makes a request once. It says how long to wait at least before the next time; less than 0: there is none.
func (n *Node) once(ctx context.Context, request func() (*http.Request, error)) (a answered, wait time.Duration, err error) {
	r, err := request()
	if err != nil {
		return a, -1, err
	}
	response, err := n.client.Do(r.WithContext(ctx))
	if err != nil {
		return a, 0, err
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	a.status, a.header = response.StatusCode, response.Header
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, 1<<30)); err != nil {
		return a, 0, fmt.Errorf("read the node's answer: %w", err)
	}
	if a.status < http.StatusMultipleChoices {
		return a, -1, nil
	}
	wait, err = refusal(a)
	return a, wait, err
}

// refusal is what an answer says that is no success, and how long to wait before the next try.
func refusal(a answered) (wait time.Duration, err error) {
	no := &refused{status: a.status}
	var said struct {
		Errors []struct{ Code, Message string }
		Error  string
	}
	if json.Unmarshal(a.body, &said) == nil && len(said.Errors) > 0 {
		no.code, no.text = said.Errors[0].Code, said.Errors[0].Message
	} else if said.Error != "" {
		no.code, no.text = http.StatusText(a.status), said.Error
	}
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
		return time.Duration(seconds) * time.Second, no
	}
	return -1, no
}

// get is ask for a request without a body.
func (n *Node) get(ctx context.Context, method, path string, header ...string) (answered, error) {
	return n.ask(ctx, func() (*http.Request, error) { return n.request(method, path, nil, header...) })
}

func (n *Node) request(method, path string, body []byte, header ...string) (*http.Request, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		content = bytes.NewReader(body)
	}
	r, err := http.NewRequest(method, n.base+path, content) //nolint:noctx // once gives it its context
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r, nil
}

// call asks what an operator may, in JSON.
func (n *Node) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	a, err := n.ask(ctx, func() (*http.Request, error) { return n.request(http.MethodPost, path, body) })
	if err != nil {
		return err
	}
	return json.Unmarshal(a.body, out)
}

// HasBlob asks by HEAD, which holds the blob for a while.
func (n *Node) HasBlob(ctx context.Context, repository string, d digest.Digest) (bool, error) {
	_, err := n.get(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+d.String())
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Mount asks for a mount. What is begun in its place, if there can be none, is not gone on with.
func (n *Node) Mount(ctx context.Context, repository, from string, d digest.Digest) (bool, error) {
	query := url.Values{"mount": {d.String()}, "from": {from}}
	a, err := n.get(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?"+query.Encode())
	return err == nil && a.status == http.StatusCreated, err
}

// brokenSource is why a body broke off on our side.
type brokenSource struct{ error }

func (b *brokenSource) Unwrap() error { return b.error }

// sourced marks the errors of a source.
type sourced struct{ io.ReadCloser }

func (s sourced) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &brokenSource{err}
	}
	return n, err
}

// PutBlob uploads a blob. Every try opens it anew.
func (n *Node) PutBlob(ctx context.Context, repository string, d digest.Digest, open Opener) error {
	_, err := n.ask(ctx, func() (*http.Request, error) {
		begun, err := n.get(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "Content-Length", "0")
		if err != nil {
			return nil, err
		}
		at, err := url.Parse(begun.header.Get("Location"))
		if err != nil {
			return nil, err
		}
		query := at.Query()
		query.Set("digest", d.String())
		body, size, err := open()
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequest(http.MethodPut, n.base+at.EscapedPath()+"?"+query.Encode(), sourced{body}) //nolint:noctx // once gives it its context
		if err != nil {
			return nil, errors.Join(err, body.Close())
		}
		if r.ContentLength = size; size == 0 {
			r.Body = http.NoBody
			err = body.Close()
		}
		r.Header.Set("Content-Type", "application/octet-stream")
		return r, err
	})
	return err
}

// Manifest reads a manifest.
func (n *Node) Manifest(ctx context.Context, repository string, d digest.Digest) (Manifest, error) {
	a, err := n.get(ctx, http.MethodGet, "/v2/"+repository+"/manifests/"+d.String(), "Accept", strings.Join(accepted(), ", "))
	if err != nil {
		return Manifest{}, err
	}
	return checked(d, a.header.Get("Content-Type"), a.body)
}

// accepted is every media type of a manifest.
func accepted() []string {
	return []string{
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	}
}

// Tag asks by HEAD.
func (n *Node) Tag(ctx context.Context, repository, tag string) (digest.Digest, error) {
	a, err := n.get(ctx, http.MethodHead, "/v2/"+repository+"/manifests/"+tag, "Accept", strings.Join(accepted(), ", "))
	if err != nil {
		return "", err
	}
	return oci.ParseDigest(a.header.Get("Docker-Content-Digest"))
}

// Resolve is Tag.
func (n *Node) Resolve(ctx context.Context, repository, tag string) (digest.Digest, error) {
	return n.Tag(ctx, repository, tag)
}

// PutManifest pushes a manifest under its digest. What the tags must be before is judged where the command stands in
// the log.
func (n *Node) PutManifest(ctx context.Context, repository string, m Manifest, tags Tags) error {
	header := []string{"Content-Type", m.MediaType}
	query := ""
	if len(tags.Names) > 0 {
		query = "?" + url.Values{"tag": tags.Names}.Encode()
		if tags.Are == "" {
			header = append(header, "If-None-Match", "*")
		} else {
			header = append(header, "If-Match", strconv.Quote(tags.Are.String()))
		}
	}
	_, err := n.ask(ctx, func() (*http.Request, error) {
		return n.request(http.MethodPut, "/v2/"+repository+"/manifests/"+m.Digest.String()+query, m.Body, header...)
	})
	return err
}

// Done does nothing: every image is whole as soon as it is there.
func (n *Node) Done(context.Context, string, []Root) error { return nil }

// Link asks the node to make a blob of a file of its own machine.
func (n *Node) Link(ctx context.Context, repository string, d digest.Digest, size int64, directory, name string) (why string, never bool, err error) {
	in := map[string]any{"repository": repository, "digest": d, "size": size, "directory": directory, "file": name}
	var out struct {
		Linked bool
		Why    string
		Never  bool
	}
	if err := n.call(ctx, "/import/link", in, &out); err != nil || out.Linked {
		return "", false, err
	}
	return out.Why, out.Never, nil
}

// Repositories lists the catalog.
func (n *Node) Repositories(ctx context.Context) (all []string, err error) {
	for last := ""; ; {
		query := url.Values{"n": {"1000"}}
		if last != "" {
			query.Set("last", last)
		}
		a, err := n.get(ctx, http.MethodGet, "/v2/_catalog?"+query.Encode())
		if err != nil {
			return nil, err
		}
		var page struct{ Repositories []string }
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, fmt.Errorf("read the catalog: %w", err)
		}
		all = append(all, page.Repositories...)
		if a.header.Get("Link") == "" || len(page.Repositories) == 0 {
			return all, nil
		}
		last = page.Repositories[len(page.Repositories)-1]
	}
}

// Roots lists all manifests of a repository, tags or not, in the words of the node's operator.
func (n *Node) Roots(ctx context.Context, repository string) (roots []Root, err error) {
	for after := ""; ; {
		var page struct {
			Manifests []struct {
				Digest    digest.Digest
				MediaType string
				Size      int64
				Tags      []string
			}
			More bool
		}
		if err := n.call(ctx, "/import/manifests", map[string]string{"repository": repository, "after": after}, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Manifests {
			roots = append(roots, Root{m.Digest, m.MediaType, m.Size, m.Tags})
			after = m.Digest.String()
		}
		if !page.More {
			return roots, nil
		}
	}
}

// Referrers are all among the roots.
func (n *Node) Referrers(context.Context, string, digest.Digest) ([]digest.Digest, error) {
	return nil, nil
}

// Blob pulls a blob. What breaks off the target sees by the digest, and opens anew.
func (n *Node) Blob(ctx context.Context, repository string, d digest.Digest) (body io.ReadCloser, size int64, err error) {
	err = patiently(ctx, func() (time.Duration, error) {
		r, err := n.request(http.MethodGet, "/v2/"+repository+"/blobs/"+d.String(), nil)
		if err != nil {
			return -1, err
		}
		response, err := n.client.Do(r.WithContext(ctx))
		if err != nil {
			return 0, err
		}
		if response.StatusCode == http.StatusOK {
			body, size = response.Body, response.ContentLength
			return -1, nil
		}
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // it is for people
		_ = response.Body.Close()                                   // it is only read
		return refusal(answered{response.StatusCode, response.Header, text})
	})
	if no, ok := errors.AsType[*refused](err); ok { // the node is there, and says so of this blob
		err = no
	}
	return body, size, err
}
