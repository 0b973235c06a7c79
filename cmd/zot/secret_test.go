package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func put(t testing.TB, name string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// line is a line of a secret that is one letter long enough.
func line(letter string) string { return strings.Repeat(letter, 32) }

func text(lines [][]byte) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteByte(l[0])
	}
	return b.String()
}

func TestSecretIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var before [][]byte
	for range 2 {
		s, err := openSecret(config.Cluster{}, dir, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		lines, err := s.lines()
		if err != nil || len(lines) != 1 || len(lines[0]) != 64 {
			t.Fatalf("%d lines, %v", len(lines), err)
		}
		if before != nil && !sameLines(before, lines) {
			t.Error("the second start made another secret")
		}
		before = lines
	}
	info, err := os.Stat(filepath.Join(dir, "secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestGivenSecretAndTheOldOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	given := filepath.Join(dir, "given")
	put(t, given, line("a"), line("b"))
	s, err := openSecret(config.Cluster{SecretFile: given}, dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.own); !errors.Is(err, os.ErrNotExist) {
		t.Error("a secret was made beside the given one")
	}
	for _, test := range []struct{ own, want string }{{"", "ab"}, {line("o"), "abo"}} {
		if test.own != "" {
			put(t, s.own, test.own)
		}
		if lines, err := s.lines(); err != nil || text(lines) != test.want {
			t.Errorf("lines %s, %v", text(lines), err)
		}
	}
}

func TestSecretIsWatched(t *testing.T) {
	t.Parallel()
	given := filepath.Join(t.TempDir(), "given")
	put(t, given, line("a"))
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &secret{given: given, own: given + "-none", log: hclog.New(&hclog.LoggerOptions{Output: &log})}
		known, err := s.lines()
		if err != nil {
			t.Fatal(err)
		}
		var rotated []string
		refuse := errors.New("not these")
		rotate := func(lines [][]byte) error {
			if text(lines) == "x" {
				return refuse
			}
			rotated = append(rotated, text(lines))
			return nil
		}
		ctx, end := context.WithCancel(t.Context())
		reload, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- s.watch(ctx, known, reload, rotate) }()

		expect := func(what, want string, errorLines int) {
			t.Helper()
			synctest.Wait()
			if got := strings.Join(rotated, " "); got != want || strings.Count(log.String(), "unusable") != errorLines {
				t.Errorf("%s: rotated to %q, want %q; log:\n%s", what, got, want, &log)
			}
		}
		time.Sleep(3 * secretPoll)
		expect("nothing changed", "", 0)
		put(t, given, line("a"), line("b"))
		time.Sleep(3 * secretPoll)
		expect("a line was added", "ab", 0)
		put(t, given, "short")
		time.Sleep(3 * secretPoll)
		expect("the file is bad", "ab", 1)
		reload <- struct{}{}
		expect("asked about the bad file", "ab", 2)
		put(t, given, line("x"))
		time.Sleep(3 * secretPoll)
		expect("the peers refuse the lines", "ab", 3)
		put(t, given, line("b"))
		reload <- struct{}{}
		expect("asked about a good file", "ab b", 3)
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
