package htpasswd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/htpasswd"
	"github.com/seed-16d79997/zot/test/timing"
)

// The password of both is "secret"; their hashes are of openssl passwd -5 and -6.
const (
	sha256Line = "carol:$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi."
	sha512Line = "dave:$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz."
)

func bcrypted(t testing.TB, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func write(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, lines ...string) (*htpasswd.File, string, []htpasswd.Note) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, lines...)
	f, notes, err := htpasswd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, path, notes
}

func wants(t *testing.T, f *htpasswd.File, name, password string, want error) {
	t.Helper()
	if _, err := f.Verify(t.Context(), name, password); !errors.Is(err, want) {
		t.Errorf("%s with %q: %v, want %v", name, password, err, want)
	}
}

func remembers(f *htpasswd.File, name, password string) bool {
	_, ok := f.Recall(name, password)
	return ok
}

func TestVerify(t *testing.T) {
	t.Parallel()
	f, _, notes := open(t, "alice:"+bcrypted(t, "secret", bcrypt.MinCost), "", "# a comment", sha256Line, sha512Line)
	if len(notes) > 0 {
		t.Errorf("notes: %v", notes)
	}
	for _, name := range []string{"alice", "carol", "dave"} {
		wants(t, f, name, "secret", nil)
		wants(t, f, name, "Secret", auth.ErrWrong)
		wants(t, f, name, "", auth.ErrWrong)
		wants(t, f, strings.ToUpper(name), "secret", auth.ErrUnknown)
	}
	wants(t, f, "", "secret", auth.ErrUnknown)
	wants(t, f, "nobody", "nobody", auth.ErrUnknown) // whatever an unknown name is compared with
}

func TestBadLines(t *testing.T) {
	t.Parallel()
	f, _, notes := open(t, "no colon", ":$2y$05$x", "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "plain:secret", "broken:$2y$05$short", "sha:$6$",
		"alice:"+bcrypted(t, "first", bcrypt.MinCost), "alice:"+bcrypted(t, "second", bcrypt.MinCost),
		"gone:"+bcrypted(t, "old", bcrypt.MinCost), "gone:*")
	var lines []int
	for _, n := range notes {
		lines = append(lines, n.Line)
		for _, secret := range []string{"5en6", "secret", "short"} {
			if strings.Contains(n.Text, secret) {
				t.Errorf("note has a hash in it: %s", n.Text)
			}
		}
	}
	if want := (htpasswd.Note{Line: 9, Text: `user "gone" stands again in line 10: this one does not count`}); !slices.Contains(notes, want) { // nor does the other
		t.Errorf("%+v, want %+v", notes, want)
	}
	if !slices.Equal(lines, []int{1, 2, 3, 4, 5, 6, 7, 9, 10}) {
		t.Errorf("lines noted: %v", lines)
	}
	wants(t, f, "plain", "secret", auth.ErrUnknown)
	wants(t, f, "alice", "first", auth.ErrWrong)
	wants(t, f, "alice", "second", nil)
	wants(t, f, "gone", "old", auth.ErrUnknown)
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	if _, _, err := htpasswd.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestReload has a new password hold at once, although the old one is remembered, and a file that is gone change nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	f, path, _ := open(t, "alice:"+bcrypted(t, "old", bcrypt.MinCost), "bob:"+bcrypted(t, "bob", bcrypt.MinCost))
	wants(t, f, "alice", "old", nil)
	if !remembers(f, "alice", "old") {
		t.Error("what was right is not remembered")
	}
	write(t, path, "alice:"+bcrypted(t, "new", bcrypt.MinCost))
	if changed, _, err := f.Reload(); !changed || err != nil {
		t.Fatalf("%v, %v", changed, err)
	}
	if remembers(f, "alice", "old") {
		t.Error("a password is remembered whose hash is no longer in the file")
	}
	wants(t, f, "alice", "old", auth.ErrWrong)
	wants(t, f, "alice", "new", nil)
	wants(t, f, "bob", "bob", auth.ErrUnknown)
	if changed, _, err := f.Reload(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Reload(); err == nil {
		t.Error("the file is gone")
	}
	wants(t, f, "alice", "new", nil)
}

// TestRemembered asks the clock, not a stopwatch: within a minute a right password costs no hashing, of which a cancelled
// caller waits for none.
func TestRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := open(t, "alice:"+bcrypted(t, "secret", bcrypt.MinCost))
		wants(t, f, "alice", "secret", nil)
		time.Sleep(59 * time.Second)
		if !remembers(f, "alice", "secret") || remembers(f, "alice", "Secret") || remembers(f, "bob", "secret") {
			t.Error("alice's password, and no other, is remembered")
		}
		time.Sleep(2 * time.Second)
		if remembers(f, "alice", "secret") {
			t.Error("after a minute it is forgotten")
		}
		wants(t, f, "alice", "Secret", auth.ErrWrong)
		if remembers(f, "alice", "Secret") {
			t.Error("a wrong password is remembered as right")
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	f, _, _ := open(t, "alice:"+bcrypted(t, "secret", bcrypt.MinCost))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			password, want := "secret", error(nil)
			if i%2 == 1 {
				password, want = "wrong", auth.ErrWrong
			}
			wants(t, f, "alice", password, want)
		})
	}
	all.Wait()
}

func FuzzParse(f *testing.F) {
	f.Add("alice:$2y$05$abcdefghijklmnopqrstuv\n" + sha256Line)
	f.Add("a:$6$rounds=5000$x$y\n:\n\x00:$5$$")
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "htpasswd")
		write(t, path, content)
		file, _, err := htpasswd.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, file, "nobody at all", "x", auth.ErrUnknown)
	})
}

// BenchmarkVerify is a login whose password is remembered, at the cost that htpasswd -B gives by default.
func BenchmarkVerify(b *testing.B) {
	f, _, _ := open(b, "alice:"+bcrypted(b, "secret", 5))
	for b.Loop() {
		if !remembers(f, "alice", "secret") {
			if _, err := f.Verify(b.Context(), "alice", "secret"); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkUnknownNames compares wrong passwords of names that are there with those of names that are not: for a file whose
// hashes are alike, and for one of which half are of SHA-crypt. Unknown names are new each time.
func BenchmarkUnknownNames(b *testing.B) {
	alike, mixed := []string{}, []string{}
	for n := range 50 {
		alike = append(alike, fmt.Sprint("user", n, ":", bcrypted(b, "secret", 5)))
		mixed = append(mixed, alike[n], fmt.Sprint("other", n, strings.TrimPrefix(sha512Line, "dave")))
	}
	for name, test := range map[string]struct{ lines, known []string }{
		"alike": {alike, []string{"user"}}, "mixed": {mixed, []string{"user", "other"}},
	} {
		b.Run(name, func(b *testing.B) {
			f, _, _ := open(b, test.lines...)
			asked := 0
			try := func(name string) {
				if _, err := f.Verify(b.Context(), name, "guess"); err == nil {
					b.Fatal("a guess was right")
				}
			}
			timing.Compare(b, "known", "unknown", [2]func(){
				func() { asked++; try(fmt.Sprint(test.known[asked%len(test.known)], asked%50)) },
				func() { asked++; try(fmt.Sprint("nobody", asked)) },
			})
		})
	}
}
