package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 64)
	for name, test := range map[string]struct {
		content string
		want    string // lines, or what the error says
		wrong   bool
	}{
		"one line":          {a, a, false},
		"two, and space":    {"\n " + a + "\r\n\n" + b + "\n\n", a + "|" + b, false},
		"short":             {b + "\nhunter2", "line 2 has 7 characters", true},
		"empty":             {"\n \n", "has no line", true},
		"short by a letter": {a[1:], "at least 32", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines, err := config.ReadSecret(write(t, test.content))
			if test.wrong {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %q, %v", lines, err)
				}
				return
			}
			got := make([]string, 0, len(lines))
			for _, line := range lines {
				got = append(got, string(line))
			}
			if err != nil || strings.Join(got, "|") != test.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestLoadWithFiles(t *testing.T) {
	t.Parallel()
	file := func(secret, rest string) string {
		return write(t, fmt.Sprintf(`{"storage": {"rootDirectory": "/x"}, "cluster": {"secretFile": %q %s}}`, secret, rest))
	}
	none := filepath.Join(t.TempDir(), "none")
	_, _, err := config.LoadWithFiles(file(none, fmt.Sprintf(`, "reads": "never", "tls": {"cert": %q, "key": %q, "ca": %q}`, write(t, "c"), write(t, "k"), write(t, "a"))))
	if err == nil || !strings.HasPrefix(err.Error(), "3 problems") {
		t.Errorf("a wrong word, no secret and no certificate are %v", err)
	}
	if _, _, err := config.LoadWithFiles(file(write(t, strings.Repeat("s", 32)), "")); err != nil {
		t.Error(err)
	}
	if _, _, err := config.LoadWithFiles(none); err == nil {
		t.Error("a file that is not there was loaded")
	}
}

func TestDirectories(t *testing.T) {
	t.Parallel()
	file, dir := write(t, ""), t.TempDir()
	for name, test := range map[string]struct{ root, log, want string }{
		"all is well":            {dir, filepath.Join(dir, "zot.log"), ""},
		"no directory yet":       {filepath.Join(dir, "new", "root"), "/dev/null", ""},
		"the root is a file":     {file, file, "storage.rootDirectory: " + file + " is none"},
		"the log is a directory": {dir, dir, "log.output: " + dir + " is a directory"},
		"the log has nowhere":    {dir, filepath.Join(dir, "logs", "zot.log"), "log.output: stat " + filepath.Join(dir, "logs")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, notes, err := config.LoadWithFiles(write(t, fmt.Sprintf(`{"storage": {"rootDirectory": %q}, "log": {"output": %q}}`, test.root, test.log)))
			if len(notes) > 0 || (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("%v %v, want %q", notes, err, test.want)
			}
		})
	}
}

func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := 24 * time.Hour
	cert, key := certificate(t, now.Add(-day), now.Add(day))
	_, otherKey := certificate(t, now.Add(-day), now.Add(day))
	oldCert, oldKey := certificate(t, now.Add(-2*day), now.Add(-day))
	newCert, newKey := certificate(t, now.Add(day), now.Add(2*day))
	const missing = "zot-test-no-such-file"
	for name, test := range map[string]struct {
		cert, key, ca string
		note, want    string
	}{
		"fit together":           {cert, key, "", "", ""},
		"with a CA":              {cert, key, cert, "", ""},
		"do not fit":             {cert, otherKey, "", "", "http.tls: cert and key: tls: private key does not match public key"},
		"no key":                 {cert, cert, "", "", "http.tls: cert and key: tls: found a certificate rather than a key"},
		"no certificate as CA":   {cert, key, key, "", "http.tls.cacert: holds no certificate"},
		"all wrong":              {missing, missing, missing, "", "3 problems\n  http.tls.cert: open " + missing + ": no such file or directory; a path is looked for from the working directory"},
		"expired":                {oldCert, oldKey, "", "http.tls.cert has expired on ", ""},
		"not yet":                {newCert, newKey, "", "http.tls.cert begins on ", ""},
		"half of it is not read": {missing, "", "", "http.tls needs both cert and key", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, notes, err := config.LoadWithFiles(write(t, fmt.Sprintf(`{"storage": {"rootDirectory": "/x"}, "http": {"tls": {"cert": %q, "key": %q, "cacert": %q}}}`, test.cert, test.key, test.ca)))
			said := ""
			for _, n := range notes {
				said += n.Key + " " + n.Text
			}
			if !strings.HasPrefix(said, test.note) || (said == "") != (test.note == "") {
				t.Errorf("notes %q, want %q", said, test.note)
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// certificate writes a certificate that signs itself, and its key.
func certificate(t *testing.T, from, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return write(t, inPEM("CERTIFICATE", der)), write(t, inPEM("PRIVATE KEY", pkcs8))
}

func TestLDAPFiles(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, time.Now(), time.Now().Add(time.Hour))
	good := write(t, `{"bindDN": "cn=zot", "bindPassword": "hunter2"}`)
	const missing = "/zot-test-no-such-file"
	for name, test := range map[string]struct{ ca, credentials, want string }{
		"as they should be":       {cert, good, ""},
		"no certificate":          {key, good, "http.auth.ldap.cacert: " + key + " holds no certificate; give certificates in PEM"},
		"missing":                 {missing, missing, "2 problems\n  http.auth.ldap.cacert: open " + missing + ": no such file or directory; put it there, or name another one\n  http.auth.ldap.credentialsFile: open " + missing},
		"no password":             {cert, write(t, `{"bindDN": "cn=zot"}`), "http.auth.ldap.credentialsFile: "},
		"a password in the wrong": {cert, write(t, `hunter2`), "http.auth.ldap.credentialsFile: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.LoadWithFiles(write(t, fmt.Sprintf(`{"storage": {"rootDirectory": "/x"}, "http": {"auth": {"ldap": {"address": "l", "baseDN": "dc=org",
				"userAttribute": "uid", "cacert": %q, "credentialsFile": %q}}}}`, test.ca, test.credentials)))
			if (err == nil) != (test.want == "") || err != nil && (!strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestProviderFiles(t *testing.T) {
	t.Parallel()
	_, key := certificate(t, time.Now(), time.Now().Add(time.Hour))
	good := write(t, `{"clientid": "i", "clientsecret": "hunter2"}`)
	const missing, where = "/zot-test-no-such-file", "http.auth.openid.providers.oidc."
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ key, credentials, want string }{
		"as they should be":     {key, good, ""},
		"of a provider's own":   {write(t, fmt.Sprintf(`{"type": "application", "keyId": "7", "key": %q}`, pem)), good, ""},
		"missing":               {missing, missing, "2 problems\n  " + where + "keypath: open " + missing + ": no such file or directory; put it there, or name another one\n  " + where + "credentialsFile: open " + missing},
		"no key":                {write(t, "hunter2"), good, where + "keypath: "},
		"another kind of key":   {write(t, "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"), good, where + "keypath: "},
		"no id":                 {key, write(t, `{"clientsecret": "hunter2"}`), where + "credentialsFile: "},
		"a secret in the wrong": {key, write(t, `hunter2`), where + "credentialsFile: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.LoadWithFiles(write(t, fmt.Sprintf(`{"storage": {"rootDirectory": "/x"}, "http": {"auth": {"openid": {"providers": {"oidc": {"issuer": "https://a.example",
				"scopes": ["openid"], "keypath": %q, "credentialsFile": %q}}}}}}`, test.key, test.credentials)))
			if (err == nil) != (test.want == "") || err != nil && (!strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
