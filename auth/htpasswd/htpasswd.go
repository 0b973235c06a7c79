// Package htpasswd knows names and passwords from a file of lines "name:hash", as Apache's htpasswd makes them.
//
// Hashes are those of bcrypt and of SHA-crypt ("$5$", "$6$"). They are slow on purpose; so what was right is
// remembered for a minute, and who asks for the same meanwhile costs nothing (auth/remember). Names that are not in the file
// cost as much as some that is there, and always the same one: so the time that an answer takes does not tell which names
// there are, also where hashes are of several kinds and costs. Only so many passwords wait to be hashed.
package htpasswd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/remember"
)

const (
	maxFile    = 64 << 20 // bytes; larger ones are no htpasswd files
	dummyCost  = 10       // of the hash that an unknown name is compared with, if the file has none to go by
	maxWaiting = 64       // passwords that wait for each core; at the usual costs that is a few seconds
	// maxPassword is how much of a password is hashed, in bytes. crypt(3) takes no more; the work that SHA-crypt makes of
	// one grows with the square of its length.
	maxPassword = 512
)

// hash is one that passwords are compared with.
type hash interface {
	// matches reports whether it is the password's. It is slow.
	matches(password string) bool
}

// table is what a file says.
type table struct {
	hashes map[string]hash
	texts  map[string]string // the hashes as they stand in the file
	all    []hash            // never empty; unknown names are compared with them
}

// File is a file of names. Its methods may be called concurrently; it starts nothing.
type File struct {
	path   string
	places *semaphore.Weighted // who hashes, or waits to
	slots  *semaphore.Weighted // hashing takes a core each, and leaves one to the rest
	right  *remember.Memory[struct{}]

	current atomic.Pointer[table]

	mu   sync.Mutex
	used []byte // what current was made of
}

var (
	_ auth.Method   = (*File)(nil)
	_ auth.Recaller = (*File)(nil)
)

// Note is what is wrong with a line of a file that is of use all the same. It has no hash in it.
type Note struct {
	Line int
	Text string
}

// Open reads a file. Lines that nobody can log in by are left out, and noted.
func Open(path string) (*File, []Note, error) {
	cores := int64(max(1, runtime.GOMAXPROCS(0)-1))
	f := &File{
		path: path, places: semaphore.NewWeighted(cores * (1 + maxWaiting)), slots: semaphore.NewWeighted(cores), right: remember.New[struct{}](),
	}
	_, notes, err := f.Reload()
	if err != nil {
		return nil, nil, err
	}
	return f, notes, nil
}

// Reload reads the file again, and reports whether it has changed. If it cannot be read what was read before holds.
func (f *File) Reload() (changed bool, notes []Note, err error) {
	content, err := read(f.path)
	if err != nil {
		return false, nil, fmt.Errorf("htpasswd file: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current.Load() != nil && bytes.Equal(content, f.used) {
		return false, nil, nil
	}
	t, notes := parse(content)
	f.used = content
	f.current.Store(t)
	return true, notes, nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxFile)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path) //nolint:gosec // the operator says which file it is
}

// parse reads lines. Of a name that is there twice the last counts, as for zot: whoever has added a line for a new password
// means the old one to be over.
func parse(content []byte) (*table, []Note) {
	t := &table{hashes: map[string]hash{}, texts: map[string]string{}}
	var notes []Note
	number, lines := 0, map[string]int{}
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if text := strings.TrimSpace(line); text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, text, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			notes = append(notes, Note{number, "is not name:hash"})
			continue
		}
		if before, twice := lines[name]; twice {
			notes = append(notes, Note{before, fmt.Sprintf("user %q stands again in line %d: this one does not count", name, number)})
			delete(t.hashes, name)
			delete(t.texts, name)
		}
		lines[name] = number
		text = strings.TrimSpace(text)
		h, err := parseHash(text)
		if err != nil {
			notes = append(notes, Note{number, fmt.Sprintf("user %q cannot log in: %s", name, err)})
			continue
		}
		t.hashes[name], t.texts[name] = h, text
	}
	for _, name := range slices.Sorted(maps.Keys(t.hashes)) {
		t.all = append(t.all, t.hashes[name])
	}
	if len(t.all) == 0 {
		text, _ := bcrypt.GenerateFromPassword([]byte("nobody"), dummyCost) // fails for a longer password
		t.all = []hash{bcryptHash(text)}
	}
	slices.SortStableFunc(notes, func(a, b Note) int { return a.Line - b.Line })
	return t, notes
}

var errHash = errors.New("its hash is neither bcrypt nor SHA-crypt; make one with htpasswd -B")

func parseHash(text string) (hash, error) {
	switch {
	case strings.HasPrefix(text, "$2"):
		if _, err := bcrypt.Cost([]byte(text)); err != nil {
			return nil, errHash
		}
		return bcryptHash(text), nil
	case strings.HasPrefix(text, "$5$"), strings.HasPrefix(text, "$6$"):
		d, err := shacrypt.Decode(text)
		if err != nil {
			return nil, errHash
		}
		return shaHash{d}, nil
	}
	return nil, errHash
}

type bcryptHash []byte

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword(h, []byte(password)) == nil
}

// shaHash is a digest of SHA-crypt, which compares in constant time.
type shaHash struct {
	digest interface{ Match(password string) bool }
}

func (h shaHash) matches(password string) bool { return h.digest.Match(password) }

var errBusy = errors.New("as many passwords are being looked at as this node may")

// Verify is as auth.Method says. It fails while too many others wait.
func (f *File) Verify(ctx context.Context, name, password string) ([]string, error) {
	t := f.current.Load()
	h, known := t.hashes[name]
	if !known {
		h = f.standIn(t, name)
	}
	right, err := f.compare(ctx, h, password[:min(len(password), maxPassword)])
	switch {
	case err != nil:
		return nil, err
	case !known:
		return nil, auth.ErrUnknown
	case !right || len(password) > maxPassword:
		return nil, auth.ErrWrong
	}
	f.right.Keep(f.keyOf(t, name, password), struct{}{})
	return nil, nil
}

// standIn is what a name is compared with that is not in the file. Nobody can tell beforehand which it is, for the
// choice is made with a secret.
func (f *File) standIn(t *table, name string) hash {
	key := f.right.Of(name)
	return t.all[binary.BigEndian.Uint64(key[:])%uint64(len(t.all))]
}

func (f *File) compare(ctx context.Context, h hash, password string) (bool, error) {
	if !f.places.TryAcquire(1) {
		return false, errBusy
	}
	defer f.places.Release(1)
	if err := f.slots.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer f.slots.Release(1)
	return h.matches(password), nil
}

// Recall is as auth.Recaller says.
func (f *File) Recall(name, password string) ([]string, bool) {
	_, ok := f.right.Find(f.keyOf(f.current.Load(), name, password))
	return nil, ok
}

// keyOf has the hash in it, so that a new one in the file holds at once.
func (f *File) keyOf(t *table, name, password string) remember.Key {
	return f.right.Of(name, t.texts[name], password)
}
