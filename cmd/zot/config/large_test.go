package config

import (
	"fmt"
	"strings"
	"testing"
)

// large is a file with so many patterns of access control.
func large(patterns int) []byte {
	var s strings.Builder
	s.WriteString(`{"storage": {"rootDirectory": "/var/lib/zot"}, "http": {"accessControl": {"repositories": {`)
	for i := range patterns {
		if i > 0 {
			s.WriteString(",")
		}
		fmt.Fprintf(&s, `"team%d/**": {"anonymousPolicy": ["read"]}`, i)
	}
	s.WriteString(`}}}}`)
	return []byte(s.String())
}

// A node that runs reads such a file each time it changes, and a wrong one every few seconds.
func BenchmarkParse(b *testing.B) {
	for _, patterns := range []int{100, 10_000} {
		data := large(patterns)
		b.Run(fmt.Sprint(patterns), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Parse("config.json", data, "zot-0"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is large in JSON may be as large in YAML.
func TestLargeFileOfYAML(t *testing.T) {
	t.Parallel()
	const patterns = 10_000
	c, _, err := Parse("config.yaml", large(patterns), "zot-0")
	if err != nil || len(c.HTTP.Auth.Access.Repositories) != patterns {
		t.Fatal(err)
	}
}
