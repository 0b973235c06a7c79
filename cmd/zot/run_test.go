package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/test/leak"
)

// patience bounds every wait of a test.
const patience = 2 * time.Minute

// eventually waits until what holds is so.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !holds() {
		if sleep(ctx, 20*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("never came to be: %s", what)
		}
	}
}

// nextPort is the last port that a test was given.
var nextPort atomic.Uint32 //nolint:gochecknoglobals // of all tests of this process

// freePorts are numbers that nobody listens on, with TCP or UDP, and that no other test of this process is given. The kernel
// gives them to nobody by itself, so a node that starts late, or again, finds its own free.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	const first, count = 10_000, 10_000
	nextPort.CompareAndSwap(0, rand.Uint32N(count)+1)
	var ports []string
	for tries := 0; len(ports) < n; tries++ {
		if tries > count {
			t.Fatal("no ports are free")
		}
		port := fmt.Sprint(first + nextPort.Add(1)%count)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)) //nolint:noctx // binding waits for nobody
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", l.Addr().String()) //nolint:noctx // as above
		if err == nil {
			ports = append(ports, port)
			_ = p.Close()
		}
		_ = l.Close()
	}
	return ports
}

// answers asks for a path of a node and returns the status code, 0 if there is none.
func answers(ctx context.Context, port, path string) (int, string) {
	return answersTo(ctx, "http://127.0.0.1:"+port+path, nil)
}

// answersTo is answers over TLS, if there is a configuration of it.
func answersTo(ctx context.Context, url string, over *tls.Config) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: over}}
	response, err := once.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // nothing is written to it
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, body.String()
}

// launched runs a node in this process, and sends what run returned, once; who comes later finds the channel closed.
func launched(t testing.TB, file string) (c config.Config, stop func() error, ended chan error) {
	t.Helper()
	return signalled(t, file, nil)
}

// signalled is launched for a node that gets signals.
func signalled(t testing.TB, file string, signals <-chan os.Signal) (c config.Config, stop func() error, ended chan error) {
	t.Helper()
	content, err := config.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	from := configFile{path: file}
	c, notes, err := from.parse(content)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(file+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() {
		defer log.Close() //nolint:errcheck // nothing hangs on the rest of it
		defer close(ended)
		ended <- run(ctx, setting{
			config: c, notes: notes, file: from, content: content, signals: signals, version: "test", log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}),
			failStop: func(err error) { t.Errorf("the node must not go on: %v", err) },
		})
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		return endOf(ended)
	})
	t.Cleanup(func() { _ = stop() })
	return c, stop, ended
}

// endOf is the end of a node that was told to stop.
func endOf(ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		return errors.New("the node was told to stop, and goes on")
	}
}

// begun runs a node in this process, which need not become ready. stop ends it and returns what run returned.
func begun(t *testing.T, file string) (stop func() error) {
	t.Helper()
	_, stop, _ = launched(t, file)
	return stop
}

// started is begun for a node that becomes ready.
func started(t testing.TB, file string) (stop func() error) {
	t.Helper()
	return ready(t, file, nil)
}

// ready is signalled for a node that becomes ready.
func ready(t testing.TB, file string, signals <-chan os.Signal) (stop func() error) {
	t.Helper()
	c, stop, ended := signalled(t, file, signals)
	eventually(t, "the node is ready", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the node ended before it was ready: %v", err)
		default:
		}
		return takesPushes(t, c.HTTP)
	})
	return stop
}

// takesPushes asks a node whether it does, without a certificate of its own.
func takesPushes(t testing.TB, c config.HTTP) bool {
	t.Helper()
	const path = "/readyz?for=write"
	if !c.TLS.On() {
		code, _ := answers(t.Context(), c.Port, path)
		return code == http.StatusOK
	}
	text, err := os.ReadFile(c.TLS.Cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	code, _ := answersTo(t.Context(), "https://127.0.0.1:"+c.Port+path, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	return code == http.StatusOK
}

// asked is what the node that the file leads to says of its cluster.
func asked(t *testing.T, file string) clusterStatus {
	t.Helper()
	c, err := newClient(file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.http.CloseIdleConnections()
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// leavesNothing returns what sees to it, in the end, that no goroutines are left which are not there now.
func leavesNothing(t *testing.T) (check func()) {
	t.Helper()
	now := goleak.IgnoreCurrent()
	return func() {
		t.Helper()
		if err := leak.Find(now); err != nil {
			t.Error(err)
		}
	}
}

func TestRunAlone(t *testing.T) { //nolint:paralleltest // it looks for goroutines that are left
	defer leavesNothing(t)()
	root := shortDir(t)
	ports := freePorts(t, 2)
	file := configIn(t, root, fmt.Sprintf(`, "http": {"port": %q}`, ports[0]))
	stop := started(t, file)
	first := asked(t, file)
	if len(first.Members) != 1 || first.Leader == "" || first.FailureTolerance != 0 || first.Members[0].State != "member" {
		t.Errorf("%+v", first)
	}
	if c, _, err := config.Load(file); err != nil {
		t.Error(err)
	} else if err := run(t.Context(), setting{config: c, log: hclog.NewNullLogger()}); err == nil || !strings.Contains(err.Error(), "another zot runs in") {
		t.Errorf("a second node in the directory: %v", err)
	}
	if got := call("cluster", "transfer", "--config", file); got.code != exitFailed || !strings.Contains(got.stderr, "nobody else votes") {
		t.Errorf("%+v", got)
	}
	if got := call("cluster", "remove", first.Leader, "--config", file); got.code != exitFailed {
		t.Errorf("the last member was removed: %+v", got)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, adminSocket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the operator's socket is left: %v", err)
	}

	// Again, now with a section "cluster": the same node under another name and address.
	second := configIn(t, root, fmt.Sprintf(`, "http": {"port": %q}, "cluster": {"node": "zot-0", "zone": "a", "listen": "127.0.0.1:%s", "advertise": "127.0.0.1:%s"}`, ports[0], ports[1], ports[1]))
	stop = started(t, second)
	eventually(t, "the node is known by its new name", func() bool {
		s := asked(t, second)
		return len(s.Members) == 1 && s.Leader == "zot-0" && s.Members[0].Address == "127.0.0.1:"+ports[1]
	})
	again := asked(t, second)
	if again.Members[0].Incarnation != first.Members[0].Incarnation || *again.Members[0].Applied <= *first.Members[0].Applied || again.Members[0].Zone != "a" {
		t.Errorf("first %+v, then %+v", first, again)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

// A directory that is not whole never comes to life again by itself.
func TestRunOnALostDisk(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ cluster, want string }{
		"alone": {"", "Put back all of "},
		"one of many": {
			`, "cluster": {"listen": "127.0.0.1:0", "advertise": "a:1", "members": ["a:1", "b:1", "c:1"], "secretFile": "SECRET"}`,
			"it takes its old place in the cluster by itself",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := shortDir(t)
			secret := filepath.Join(t.TempDir(), "secret")
			put(t, secret, line("s"))
			if err := os.Mkdir(filepath.Join(root, "node"), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(root, "node", "incarnation"), strings.Repeat("a", 32), "")
			c, _, err := config.LoadWithFiles(configIn(t, root, `, "http": {"port": 0}`+strings.ReplaceAll(test.cluster, "SECRET", secret)))
			if err != nil {
				t.Fatal(err)
			}
			err = run(t.Context(), setting{config: c, log: hclog.NewNullLogger()})
			if !errors.Is(err, cluster.ErrLostDisk) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What cannot be bound is said before the node takes part in anything, and all else is given back.
func TestRunWithoutItsPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test is over
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	free := freePorts(t, 1)[0]
	root := shortDir(t)
	file := configIn(t, root, fmt.Sprintf(`, "http": {"port": %q}, "cluster": {"listen": "127.0.0.1:%s"}`, port, free))
	c, _, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), setting{config: c, log: hclog.NewNullLogger()}); err == nil || !strings.Contains(err.Error(), "http.port") {
		t.Errorf("got %v", err)
	}
	if l, err := net.Listen("tcp", "127.0.0.1:"+free); err != nil { //nolint:noctx // as above
		t.Errorf("the port between nodes was not given back: %v", err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestTimings(t *testing.T) {
	t.Parallel()
	for word, want := range map[string][3]int{"default": {500, 500, 250}, "fast-lan": {300, 300, 250}, "slow-disk": {1000, 1000, 500}} {
		timing := timingOf(word)
		got := [3]int{int(timing.Heartbeat.Milliseconds()), int(timing.Election.Milliseconds()), int(timing.Lease.Milliseconds())}
		if got != want {
			t.Errorf("%s: heartbeat, election and lease are %v ms, want %v", word, got, want)
		}
	}
}
