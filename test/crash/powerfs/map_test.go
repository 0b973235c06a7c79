package powerfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-16d79997/zot/test/crash/disk"
)

// coherenceWorker writes to a file beside a shared map of it, grows and shrinks it, drops the kernel's pages,
// and wants map, reads and what it wrote to be the same. It prints the digest of what the file then holds.
func coherenceWorker(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	const limit = 1 << 20
	view, err := unix.Mmap(int(f.Fd()), 0, limit, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	// the same work each time
	rng := rand.New(rand.NewPCG(1, 2))
	var want []byte
	for i := range 4000 {
		if want, err = coherenceStep(f, rng, want, limit); err != nil {
			return err
		}
		if err := coherent(f, rng, view, want); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	fmt.Printf("%x\n", sha256.Sum256(want))
	return f.Sync()
}

func coherenceStep(f *os.File, rng *rand.Rand, want []byte, limit int) ([]byte, error) {
	switch rng.IntN(20) {
	case 0:
		return want, f.Sync()
	case 1:
		return want, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	case 2:
		size := rng.IntN(limit)
		if size < len(want) {
			want = want[:size]
		} else {
			want = append(want, make([]byte, size-len(want))...)
		}
		return want, f.Truncate(int64(size))
	}
	data := bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(10000))
	off := rng.IntN(limit - len(data))
	if end := off + len(data); end > len(want) {
		want = append(want, make([]byte, end-len(want))...)
	}
	copy(want[off:], data)
	_, err := f.WriteAt(data, int64(off))
	return want, err
}

func coherent(f *os.File, rng *rand.Rand, view, want []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != int64(len(want)) {
		return fmt.Errorf("size is %d, want %d", info.Size(), len(want))
	}
	if len(want) == 0 {
		return nil
	}
	off := rng.IntN(len(want))
	end := min(len(want), off+20000)
	if !bytes.Equal(view[off:end], want[off:end]) {
		return fmt.Errorf("the map differs between %d and %d", off, end)
	}
	got := make([]byte, end-off)
	if _, err := f.ReadAt(got, int64(off)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(got, want[off:end]) {
		return fmt.Errorf("a read differs between %d and %d", off, end)
	}
	return nil
}

func TestMapIsCoherent(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	w := startWorker(t, "coherence", m.at("file"))
	want := w.line()
	if rest := w.kill(); len(rest) > 0 || len(want) != 64 {
		t.Fatalf("%s %q", want, rest)
	}
	must(t, fsync(m.mnt))
	m.unmount()
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(m.left("file")))); got != want {
		t.Errorf("the disk has %s, want %s", got, want)
	}
}

// mapWriteWorker changes a file through a map, syncs one change and leaves the other.
func mapWriteWorker(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	view, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(view, "synced")
	if err := unix.Msync(view, unix.MS_SYNC); err != nil {
		return err
	}
	copy(view[4096:], "not synced")
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until killed
	return err
}

func TestWritesThroughAMap(t *testing.T) {
	for policy, want := range map[string]string{"cut": "synced" + repeat("\x00", 8186), "unmount": "synced" + repeat("\x00", 4090) + "not synced" + repeat("\x00", 4086)} {
		m := newMachine(t)
		must(t, write(m.disk+"/file", repeat("\x00", 8192)))
		m.boot(1)
		w := startWorker(t, "map-write", m.at("file"))
		if line := w.line(); line != "ready" {
			t.Fatal(line)
		}
		if policy == "cut" {
			_, err := m.fs.CutWith(disk.LoseAll)
			must(t, err)
		}
		m.unmount()
		if got := m.left("file"); got != want {
			t.Errorf("%s leaves %q", policy, strings.Trim(got, "\x00"))
		}
		w.kill()
	}
}

// holdWorker keeps a file open and mapped, and its directory as its own, until it is killed. Told to go on,
// it says what becomes of a write.
func holdWorker(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(1<<20), os.Chdir(strings.TrimSuffix(path, "/file"))); err != nil {
		return err
	}
	view, err := unix.Mmap(int(f.Fd()), 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(view, "dirty")
	fmt.Println("ready")
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	if _, err = f.WriteAt([]byte("late"), 0); err == nil {
		return errors.New("a write after the end has succeeded")
	}
	fmt.Println("refused")
	return nil
}

// TestBusy cuts and unmounts below a process that holds on to everything, and boots again beside it.
func TestBusy(t *testing.T) {
	m := newMachine(t)
	must(t, write(m.disk+"/kept", "x"))
	for round := range int64(5) {
		m.boot(round)
		w := startWorker(t, "hold", m.at("file"))
		if line := w.line(); line != "ready" {
			t.Fatal(line)
		}
		if round%2 == 0 {
			_, err := m.fs.CutWith(disk.LoseAll)
			must(t, err)
		}
		m.unmount()
		m.boot(round)
		if b, err := os.ReadFile(m.at("kept")); string(b) != "x" || err != nil {
			t.Errorf("after the next start: %q, %v", b, err)
		}
		if _, err := w.in.Write([]byte{1}); err != nil {
			t.Error(err)
		}
		if line := w.line(); line != "refused" {
			t.Error(line)
		}
		w.kill()
		m.unmount()
		if round == 1 {
			if got := m.left("file"); !strings.HasPrefix(got, "dirty") {
				t.Errorf("a clean end below an open file leaves %.10q", got)
			}
		}
		must(t, os.RemoveAll(m.disk+"/file"))
	}
}

// TestDeadMount mounts where the mount of a process that was killed still is.
func TestDeadMount(t *testing.T) {
	m := newMachine(t)
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Mount("dead", m.mnt, "fuse.dead", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)), unix.Close(fd))
	if _, err := os.Stat(m.mnt); !errors.Is(err, syscall.ENOTCONN) {
		t.Fatalf("the mount is not dead: %v", err)
	}
	m.boot(1)
	must(t, write(m.at("file"), "x"))
	m.unmount()
	if got := m.left("file"); got != "x" {
		t.Errorf("left %q", got)
	}
}
