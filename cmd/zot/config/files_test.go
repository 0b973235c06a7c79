package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestCheckFiles(t *testing.T) {
	t.Parallel()
	c := config.Default("zot-0")
	c.Cluster.SecretFile = filepath.Join(t.TempDir(), "none")
	c.Cluster.TLS = config.TLS{Cert: write(t, "c"), Key: write(t, "k"), CA: write(t, "a")}
	err := c.CheckFiles()
	if err == nil || !strings.HasPrefix(err.Error(), "2 problems") || !strings.Contains(err.Error(), "cluster.secretFile") || !strings.Contains(err.Error(), "cluster.tls") {
		t.Errorf("got %v", err)
	}
	c.Cluster.SecretFile, c.Cluster.TLS = write(t, strings.Repeat("s", 32)), config.TLS{}
	if err := c.CheckFiles(); err != nil {
		t.Error(err)
	}
}
