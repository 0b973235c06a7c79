package examples_test

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// moved is an example whose places are this test's.
type moved struct {
	config       section
	repositories []string           // one in each store
	client       *http.Client       // speaks TLS; nil: there is none
	authority    *harness.Authority // of the certificate; nil: there is none
	shows        harness.Pair       // what clients have to show
	bucket       *harness.Bucket
	prefixes     []string // of each store that is in the bucket
	tables       *harness.Tables
	people       people
	issuer       *issuer
	output       string // the file of its log; "" is standard output
	audit        string
	secrets      []string // what nobody may read in a log
}

// move rewrites an example.
func move(t *testing.T, example section) *moved {
	t.Helper()
	m := &moved{config: example}
	m.storage(t, example.in("storage"))
	if example.in("http") == nil {
		example.put("http", map[string]any{})
	}
	m.tls(t, example.in("http", "tls"))
	m.people = m.meet(t, example.in("http"))
	if log := example.in("log"); log != nil {
		dir := t.TempDir()
		m.output, m.audit = filepath.Join(dir, "log"), filepath.Join(dir, "audit")
		log.replace("output", m.output)
		log.replace("audit", m.audit)
		if log.text("output") == "" {
			m.output = ""
		}
	}
	synced(t, example.in("extensions", "sync"))
	return m
}

// storage is for the section of that name.
func (m *moved) storage(t *testing.T, s section) {
	t.Helper()
	m.store(t, s, "library/image")
	for path, sub := range s.in("subPaths") {
		m.store(t, sub.(map[string]any), strings.TrimPrefix(path, "/")+"/image")
	}
}

// store is for it, or one of its sub-paths, where one of the repositories is.
func (m *moved) store(t *testing.T, s section, repository string) {
	t.Helper()
	m.repositories = append(m.repositories, repository)
	s.put("rootDirectory", shortDir(t))
	driver := s.in("storageDriver")
	if driver == nil {
		return
	}
	if m.bucket == nil {
		m.bucket = harness.StartBucket(t)
		m.secrets = append(m.secrets, m.bucket.SecretKey)
	}
	m.prefixes = append(m.prefixes, strings.Trim(driver.text("rootdirectory"), "/"))
	for _, key := range []string{"region", "bucket", "regionendpoint", "accesskey", "secretkey"} {
		driver.put(key, m.bucket.Driver("")[key])
	}
	if cache := s.in("cacheDriver"); cache != nil {
		if m.tables == nil {
			m.tables = harness.StartTables(t)
		}
		cache.replace("endpoint", m.tables.Endpoint)
	}
}

// tls is for the section of that name.
func (m *moved) tls(t *testing.T, s section) {
	t.Helper()
	if s == nil {
		return
	}
	m.authority = harness.NewAuthority(t)
	server := m.authority.Server(t)
	s.replace("cert", server.Cert)
	s.replace("key", server.Key)
	if s.key("cacert") != "" {
		s.put("cacert", m.authority.File)
		m.shows = m.authority.Client(t, "somebody")
	}
	m.client = m.authority.Trusting(t, m.shows)
}

// synced is for the section of that name: its registries are where nobody is.
func synced(t *testing.T, s section) {
	t.Helper()
	if s == nil {
		return
	}
	nobody := net.JoinHostPort("127.0.0.1", strconv.Itoa(harness.FreePorts(t, 1)[0]))
	if file := s.text("credentialsFile"); file != "" {
		s.put("credentialsFile", absolute(t, filepath.Join(folder, filepath.Base(file))))
	}
	registries, _ := s.at("registries").([]any)
	for _, r := range registries {
		registry := section(r.(map[string]any))
		var urls []any
		for _, text := range list(registry.at("urls")) {
			urls = append(urls, elsewhere(t, text, nobody))
		}
		registry.put("urls", urls)
		registry.replace("certDir", t.TempDir())
	}
}

// elsewhere is a URL with another host.
func elsewhere(t *testing.T, text, host string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = host
	return u.String()
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shortDir is a directory in which a socket has a short path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zot-ex-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
