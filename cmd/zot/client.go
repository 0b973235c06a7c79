package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// clientTimeout is longer than the node takes for any request.
const clientTimeout = adminTimeout + 5*time.Second

// keptConnections is how many connections are kept for the next requests: an import makes many at once.
const keptConnections = 64

// client speaks to the node on this machine.
type client struct {
	http   *http.Client
	socket string
	file   string
}

// newClient finds the node through its configuration file. The file may have problems: they are no
// reason not to look how the node is that runs with an older one.
func newClient(file string) (*client, error) {
	c, _, err := config.Load(file)
	if c.Storage.RootDirectory == "" {
		if err == nil {
			err = errors.New("it has no storage.rootDirectory")
		}
		return nil, fmt.Errorf("find the node through %s (say --config FILE or set ZOT_CONFIG): %w", file, err)
	}
	socket := filepath.Join(c.Storage.RootDirectory, adminSocket)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{
		http:   &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: keptConnections}, Timeout: clientTimeout},
		socket: socket, file: file,
	}, nil
}

// call sends in, if it is not nil, and decodes the answer into out.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://zot"+path, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing is written to it
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var refused adminError
		if err := json.Unmarshal(answer, &refused); err != nil || refused.Error == "" {
			return fmt.Errorf("the node answers %s", response.Status)
		}
		return errors.New(refused.Error)
	}
	return json.Unmarshal(answer, out)
}

// errNoNode is for a socket that nobody listens on.
var errNoNode = errors.New("no node runs")

// unreachable says what can be done about a node that does not answer.
func (c *client) unreachable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s: start it with 'zot serve %s', or name its configuration with --config or ZOT_CONFIG", errNoNode, c.socket, c.file)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is not yours to open: run this as the user that zot runs as", c.socket)
	default:
		return fmt.Errorf("ask the node at %s: %w", c.socket, err)
	}
}

// audit has all nodes checked, and calls show with how far they are. It takes as long as it takes.
func (c *client) audit(ctx context.Context, wish checkWish, show func([]auditProgress)) (verdict, error) {
	body, err := json.Marshal(wish)
	if err != nil {
		return verdict{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://zot/cluster/verify", bytes.NewReader(body))
	if err != nil {
		return verdict{}, err
	}
	response, err := c.http.Transport.RoundTrip(request)
	if err != nil {
		return verdict{}, c.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	for lines := json.NewDecoder(response.Body); ; {
		var line auditLine
		if err := lines.Decode(&line); err != nil {
			return verdict{}, fmt.Errorf("the node's answer breaks off: %w", err)
		}
		switch {
		case line.Error != "": // an answer with another status is such a line too
			return verdict{}, errors.New(line.Error)
		case line.Verdict != nil:
			return *line.Verdict, nil
		}
		show(line.Progress)
	}
}

func (c *client) status(ctx context.Context) (s clusterStatus, err error) {
	return s, c.call(ctx, http.MethodGet, "/cluster/status", nil, &s)
}
