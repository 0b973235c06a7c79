package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The entries of a Directory are below DirectoryBase. Whoever has bound may read them, as DirectoryAccount with
// DirectoryPassword where there is an entry for it.
const (
	DirectoryBase     = "dc=example,dc=org"
	DirectoryAccount  = "cn=zot," + DirectoryBase
	DirectoryPassword = "the account's own"
)

// Directory is OpenLDAP's server.
type Directory struct {
	Port, TLSPort int    // of 127.0.0.1: the first begins without TLS
	CA            string // a file, of the certificate that the server shows

	program string
	config  string
	process *Process
}

// StartDirectory runs OpenLDAP's server until the test ends, with entries in LDIF: the first ones are there before it
// starts, and the others come from a client, so that the server notes the groups of their members.
func StartDirectory(t testing.TB, first, others string) *Directory {
	t.Helper()
	Program(t, "ZOT") // nothing is started for a test that will be skipped
	d := &Directory{program: find(t, "slapd")}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	ports := FreePorts(t, 2)
	d.Port, d.TLSPort = ports[0], ports[1]
	var key string
	d.CA, key = Certificate(t, "127.0.0.1")
	d.config = filepath.Join(dir, "slapd.conf")
	const root = "cn=root," + DirectoryBase
	write(t, d.config, fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile %s
TLSCertificateKeyFile %s
TLSCACertificateFile %[1]s
database mdb
directory %[3]s
suffix %[4]q
rootdn %[5]q
rootpw root
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
`, d.CA, key, data, DirectoryBase, root))
	Run(t, find(t, "slapadd"), "-f", d.config, "-l", write(t, filepath.Join(dir, "first.ldif"), first))
	d.Serve(t)
	Run(t, find(t, "ldapadd"), "-x", "-H", "ldap://"+local(d.Port), "-D", root, "-w", "root", "-f", write(t, filepath.Join(dir, "others.ldif"), others))
	return d
}

// Serve starts a server that does not run.
func (d *Directory) Serve(t testing.TB) {
	t.Helper()
	d.process = begin(t, "slapd", syscall.SIGTERM, exec.CommandContext(outlasting(t), d.program, "-d", "stats",
		"-h", "ldap://"+local(d.Port)+" ldaps://"+local(d.TLSPort), "-f", d.config))
	Until(t, "slapd answers", func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", local(d.Port))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Kill ends the server as a crash does.
func (d *Directory) Kill(t testing.TB) {
	t.Helper()
	d.process.Stop(t, syscall.SIGKILL)
}

// find looks for a program also where those of the operator are.
func find(t testing.TB, program string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: run make e2e-deps", program)
	return ""
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Line passes connections on to a port of 127.0.0.1, as it is told: at once, late, or not at all.
type Line struct {
	Port int

	late  atomic.Int64 // nanoseconds
	mu    sync.Mutex
	flows chan struct{} // closed while something goes on
}

// NewLine passes on until the test ends.
func NewLine(t testing.TB, to int) *Line {
	t.Helper()
	return newLine(t, "127.0.0.1", to)
}

func newLine(t testing.TB, host string, to int) *Line {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{flows: make(chan struct{})}
	close(l.flows)
	if l.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(outlasting(t))
	ended := make(chan struct{})
	go func() { // waited for below
		defer close(ended)
		l.accept(ctx, listener, local(to))
	}()
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		<-ended
	})
	return l
}

// Delay has all that is sent, either way, arrive so much later.
func (l *Line) Delay(by time.Duration) { l.late.Store(int64(by)) }

// Stall has nothing go on any more: connections stay open, and nobody answers.
func (l *Line) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flows = make(chan struct{})
}

// Flow undoes Stall.
func (l *Line) Flow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.flows)
}

// passes waits until something may go on; it reports false if ctx has ended.
func (l *Line) passes(ctx context.Context) bool {
	late := time.NewTimer(time.Duration(l.late.Load()))
	defer late.Stop()
	l.mu.Lock()
	flows := l.flows
	l.mu.Unlock()
	select {
	case <-late.C:
	case <-ctx.Done():
		return false
	}
	select {
	case <-flows:
		return true
	case <-ctx.Done():
		return false
	}
}

// accept returns when the listener is closed and all connections have ended, as they do with ctx.
func (l *Line) accept(ctx context.Context, listener net.Listener, to string) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			defer c.Close() //nolint:errcheck // it is only passed on
			other, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			defer other.Close() //nolint:errcheck // as above
			stop := context.AfterFunc(ctx, func() { _ = errors.Join(c.Close(), other.Close()) })
			defer stop()
			all.Go(func() { l.copy(ctx, c, other) })
			l.copy(ctx, other, c)
		})
	}
}

// copy passes on in one direction. A line that stalls keeps what it has read.
func (l *Line) copy(ctx context.Context, to io.Writer, from io.Reader) {
	some := make([]byte, 32<<10)
	for {
		n, err := from.Read(some)
		if err != nil {
			return
		}
		if !l.passes(ctx) {
			return
		}
		if _, err := to.Write(some[:n]); err != nil {
			return
		}
	}
}
