package bearer_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// asking returns what asks for the keys anew, and what it has logged and told.
func asking(t *testing.T) (ask func() (told string)) {
	t.Helper()
	var log strings.Builder
	v := must(bearer.Open(bearer.Config{
		Secret: &bearer.Secret{Region: "eu-central-1", Name: "zot/keys", Refresh: time.Nanosecond}, // each token asks
		Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}),
	}))
	t.Cleanup(v.Close)
	return func() string {
		_, err := v.Verify(t.Context(), "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.c2ln", time.Now())
		if err == nil {
			t.Fatal("it is let in without a key")
		}
		return err.Error() + "\n" + log.String()
	}
}

// What a program has said that gives out keys is in no error.
func TestCredentialsAreNotQuoted(t *testing.T) {
	dir := t.TempDir()
	program, file := filepath.Join(dir, "program"), filepath.Join(dir, "config")
	for name, content := range map[string]string{
		program: "#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \"SecretAccessKey\": \"hunter2\"'\n", // and no brace
		file:    "[default]\ncredential_process = " + program + "\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": file, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
	} {
		t.Setenv(name, value)
	}
	told := asking(t)()
	if !strings.Contains(told, "no credentials for AWS") || strings.Contains(told, "AKIDEXAMPLE") || strings.Contains(told, "hunter2") {
		t.Error(told)
	}
}

// Connections that break are one failure, from whichever port they were.
func TestBrokenConnectionsAreLoggedOnce(t *testing.T) {
	newSecretsManager(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.(*net.TCPConn).SetLinger(0) // the client reads that it is reset, of a connection with its ports
		_ = c.Close()
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", strings.Replace(server.URL, "http://", "http://somebody:hunter2@", 1))
	ask, told := asking(t), ""
	for range 3 {
		told = ask()
	}
	if n := strings.Count(told, "are not to be had"); n != 1 || !strings.Contains(told, server.Listener.Addr().String()+" does not answer: the connection breaks") || strings.Contains(told, "hunter2") {
		t.Errorf("logged %d times:\n%s", n, told)
	}
}
