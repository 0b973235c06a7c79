package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

const (
	snapshotWorkers = 4 // blobs that are on their way at a time
	snapshotTries   = 5 // of one blob
	snapshotPause   = 200 * time.Millisecond
)

// snapshotClient has what a backup needs of the node.
type snapshotClient struct {
	*client

	long *http.Client // without a time within which all has to be through
}

func newSnapshotClient(file string) (*snapshotClient, error) {
	c, err := newClient(file)
	if err != nil {
		return nil, err
	}
	return &snapshotClient{c, &http.Client{Transport: c.http.Transport}}, nil
}

// restoring asks how far a restore is.
func (c *snapshotClient) restoring(ctx context.Context) (s restoreStatus, err error) {
	return s, c.call(ctx, http.MethodGet, "/snapshot/restore", nil, &s)
}

// Propose proposes a command of a restore.
func (c *snapshotClient) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	response, err := c.send(ctx, http.MethodPost, "/snapshot/propose", bytes.NewReader(payload), int64(len(payload)))
	if err != nil {
		return entry.Result{}, err
	}
	defer response.Body.Close() //nolint:errcheck // nothing is written to it
	var p proposed
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return entry.Result{}, fmt.Errorf("read the node's answer: %w", err)
	}
	return entry.Result{Outcome: p.Outcome, Bytes: p.Bytes}, nil
}

// state opens the stream of the newest state. The caller closes it.
func (c *snapshotClient) state(ctx context.Context) (io.ReadCloser, error) {
	response, err := c.send(ctx, http.MethodGet, "/snapshot/state", http.NoBody, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for the state: %w", err)
	}
	return response.Body, nil
}

// answered is a request that was answered with a status that is not the one hoped for.
type answered struct {
	status int
	text   string
}

func (a answered) Error() string { return a.text }

// again reports whether the same request may yet succeed.
func (a answered) again() bool {
	return a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests || a.status == http.StatusInternalServerError
}

// send sends a request whose body and answer may take as long as they take. The caller closes the answer's body.
func (c *snapshotClient) send(ctx context.Context, method, path string, body io.Reader, size int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://zot"+path, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = size
	if size == 0 {
		request.Body = http.NoBody
	}
	response, err := c.long.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAdminBody))
	return nil, errors.Join(answered{response.StatusCode, sayingOf(response.Status, said)}, err, response.Body.Close())
}

// sayingOf is what an answer says in words: the operator's, or the registry's.
func sayingOf(status string, body []byte) string {
	var said struct {
		Error  string `json:"error"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	switch err := json.Unmarshal(body, &said); {
	case err == nil && said.Error != "":
		return said.Error
	case err == nil && len(said.Errors) > 0 && said.Errors[0].Message != "":
		return said.Errors[0].Message
	default:
		return "the node answers " + status
	}
}

// pull opens a blob of a repository. The caller closes it.
func (c *snapshotClient) pull(ctx context.Context, repository, digest string) (io.ReadCloser, error) {
	response, err := c.send(ctx, http.MethodGet, "/v2/"+repository+"/blobs/"+digest, http.NoBody, 0)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// push stores a blob as a client's push does: durable on as many nodes as that, and verified by each.
func (c *snapshotClient) push(ctx context.Context, repository, digest string, size int64, r io.Reader) error {
	response, err := c.send(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digest, r, size)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// errBytes is for bytes that do not hash to their digest, or are too few or too many.
var errBytes = errors.New("its bytes are not those of its digest")

// digested reads on, and instead of its end finds errBytes if what it has read does not hash to the digest.
type digested struct {
	from io.Reader
	hash hash.Hash
	want digest.Digest
	left int64
}

// newDigested makes one for a blob of a size. It fails with oci.ErrDigestInvalid.
func newDigested(r io.Reader, text string, size int64) (*digested, error) {
	d, err := oci.ParseDigest(text)
	if err != nil {
		return nil, err
	}
	return &digested{r, d.Algorithm().Hash(), d, size}, nil
}

// Read returns what comes.
func (d *digested) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	d.hash.Write(p[:n])
	d.left -= int64(n)
	switch {
	case d.left < 0:
		return n, errBytes
	case errors.Is(err, io.EOF) && (d.left > 0 || digest.NewDigest(d.want.Algorithm(), d.hash) != d.want):
		return n, errBytes
	}
	return n, err
}

// patiently does what may be repeated with one blob, as long as that is of use.
func patiently(ctx context.Context, do func() error) error {
	for try, pause := 1, snapshotPause; ; try, pause = try+1, 2*pause {
		err := do()
		a, ok := errors.AsType[answered](err)
		if err == nil || ok && !a.again() || errors.Is(err, errBytes) || errors.Is(err, errNoNode) || try == snapshotTries || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pause)
	}
}

// isFinal reports whether a proposal was judged, or would be refused in the same way again.
func isFinal(err error) bool {
	_, refused := errors.AsType[*fsm.Refusal](err)
	a, ok := errors.AsType[answered](err)
	return refused || ok && !a.again()
}
