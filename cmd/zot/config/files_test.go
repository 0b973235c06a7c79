package config_test

import (
	"fmt"
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
