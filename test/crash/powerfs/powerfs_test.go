package powerfs_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-16d79997/zot/test/crash/disk"
	"github.com/seed-16d79997/zot/test/crash/powerfs"
)

// TestCut wants to see each of the given states and no other. The disk holds the directory d and in it the
// file old, of 700 times "o".
func TestCut(t *testing.T) {
	before, after := repeat("o", 700), repeat("n", 700)
	tests := []struct {
		name  string
		do    func(d string) error
		want  []string // content of d/old:d/new
		other bool     // others as well: torn, short, zeros
	}{
		{"nothing", func(string) error { return nil }, []string{before + ":-"}, false},
		{"written", func(d string) error { return write(d+"/new", "n") }, []string{before + ":-", before + ":", before + ":n"}, true},
		{"synced, its directory not", func(d string) error {
			return errors.Join(write(d+"/new", "n"), fsync(d+"/new"))
		}, []string{before + ":-", before + ":n"}, false},
		{"only its directory synced", func(d string) error {
			return errors.Join(write(d+"/new", "n"), fsync(d))
		}, []string{before + ":", before + ":n"}, true},
		{"both synced", func(d string) error {
			return errors.Join(write(d+"/new", "n"), fsync(d+"/new"), fsync(d))
		}, []string{before + ":n"}, false},
		{"renamed over", func(d string) error {
			return errors.Join(write(d+"/new", "n"), fsync(d+"/new"), fsync(d), os.Rename(d+"/new", d+"/old"))
		}, []string{before + ":n", "n:-"}, false},
		{"renamed over and synced", func(d string) error {
			return errors.Join(write(d+"/new", "n"), fsync(d+"/new"), os.Rename(d+"/new", d+"/old"), fsync(d))
		}, []string{"n:-"}, false},
		{"removed", func(d string) error { return os.Remove(d + "/old") }, []string{before + ":-", "-:-"}, false},
		{"removed and synced", func(d string) error { return errors.Join(os.Remove(d+"/old"), fsync(d)) }, []string{"-:-"}, false},
		{"truncated", func(d string) error { return os.Truncate(d+"/old", 100) }, []string{before + ":-", before[:100] + ":-"}, false},
		{"truncated and synced", func(d string) error {
			return errors.Join(os.Truncate(d+"/old", 100), fsync(d+"/old"))
		}, []string{before[:100] + ":-"}, false},
		{"truncated, grown and synced", func(d string) error {
			return errors.Join(os.Truncate(d+"/old", 100), os.Truncate(d+"/old", 600), fsync(d+"/old"))
		}, []string{before[:100] + repeat("\x00", 500) + ":-"}, false},
		{"rewritten", func(d string) error { return write(d+"/old", after) }, []string{before + ":-", after + ":-"}, true},
		{"rewritten and synced", func(d string) error {
			return errors.Join(write(d+"/old", after), fsync(d+"/old"))
		}, []string{after + ":-"}, false},
		{"allocated and synced", func(d string) error {
			return errors.Join(allocate(d+"/old", 1000), fsync(d+"/old"))
		}, []string{before + repeat("\x00", 300) + ":-"}, false},
		{"linked and synced", func(d string) error {
			return errors.Join(os.Link(d+"/old", d+"/new"), fsync(d))
		}, []string{before + ":" + before}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]int{}
			m := newMachine(t)
			for seed := range int64(120) {
				d := filepath.Join(m.disk, "d")
				must(t, os.RemoveAll(d), os.Mkdir(d, 0o700), write(d+"/old", before))
				m.boot(seed)
				must(t, tt.do(m.at("d")))
				_, err := m.fs.Cut()
				must(t, err)
				m.unmount()
				got[m.left("d/old")+":"+m.left("d/new")]++
			}
			for _, want := range tt.want {
				if got[want] == 0 {
					t.Errorf("%.40q was never found", want)
				}
				delete(got, want)
			}
			if len(got) > 0 && !tt.other {
				t.Errorf("also found %d others: %.200q", len(got), fmt.Sprint(got))
			}
		})
	}
}

func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 2*size), f.Close())
}

// TestProgramsAreCaught runs the usual way to replace a file, whole and with a step left out.
func TestProgramsAreCaught(t *testing.T) {
	for _, skip := range []string{"", "sync", "directory"} {
		t.Run("without "+skip, func(t *testing.T) {
			m, lost := newMachine(t), 0
			for seed := range int64(60) {
				m.boot(seed)
				content := repeat(fmt.Sprint(seed%10), 5000)
				must(t, write(m.at("tmp"), content))
				if skip != "sync" {
					must(t, fsync(m.at("tmp")))
				}
				must(t, os.Rename(m.at("tmp"), m.at("file")))
				if skip != "directory" {
					must(t, fsync(m.mnt))
				}
				_, err := m.fs.Cut()
				must(t, err)
				m.unmount()
				if m.left("file") != content {
					lost++
				}
			}
			if (lost > 0) != (skip != "") {
				t.Errorf("%d of 60 files were lost", lost)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	for policy, want := range map[disk.Policy]string{disk.LoseAll: "synced", disk.KeepAll: "seen"} {
		m := newMachine(t)
		m.boot(1)
		must(t, write(m.at("a"), "synced"), fsync(m.at("a")), fsync(m.mnt), write(m.at("a"), "seen"), write(m.at("b"), ""))
		loss, err := m.fs.CutWith(policy)
		must(t, err)
		m.unmount()
		if got := m.left("a"); got != want {
			t.Errorf("policy %d leaves %q, want %q", policy, got, want)
		}
		if (loss == powerfs.Loss{}) != (policy == disk.KeepAll) {
			t.Errorf("policy %d: loss %+v", policy, loss)
		}
	}
}

func TestAfterCut(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	f, err := os.Create(m.at("file"))
	must(t, err)
	_, err = m.fs.Cut()
	must(t, err)
	if _, err := f.WriteString("x"); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("fsync: %v", err)
	}
	for what, err := range map[string]error{
		"create": write(m.at("new"), ""), "remove": os.Remove(m.at("file")), "mkdir": os.Mkdir(m.at("dir"), 0o700),
		"rename": os.Rename(m.at("file"), m.at("other")), "sync directory": fsync(m.mnt),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := m.fs.Cut(); !errors.Is(err, powerfs.ErrOff) {
		t.Errorf("a second cut: %v", err)
	}
	m.unmount()
	must(t, f.Close())
}

func TestFailAfter(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	f, err := os.Create(m.at("file"))
	must(t, err)
	failed := m.fs.FailAfter(3)
	var last error
	n := 0
	for ; last == nil; n++ {
		_, last = f.WriteString("x")
	}
	if n != 3 || !errors.Is(last, syscall.EIO) {
		t.Errorf("write %d fails with %v, want the third", n, last)
	}
	<-failed
	_, err = m.fs.CutWith(disk.LoseAll)
	must(t, err)
	must(t, f.Close())
	m.unmount()
	if got := m.left("file"); got != "-" {
		t.Errorf("the disk has %q", got)
	}
}

func TestCutAll(t *testing.T) {
	all := []*machine{newMachine(t), newMachine(t), newMachine(t)}
	var mounts []*powerfs.FS
	for i, m := range all {
		m.boot(int64(i))
		mounts = append(mounts, m.fs)
		must(t, write(m.at("file"), "synced"), fsync(m.at("file")), fsync(m.mnt))
	}
	losses, err := powerfs.CutAll(mounts...)
	must(t, err)
	if len(losses) != 3 {
		t.Errorf("%d losses", len(losses))
	}
	for i, m := range all {
		if err := write(m.at("file"), "later"); !errors.Is(err, syscall.EIO) {
			t.Errorf("machine %d still runs: %v", i, err)
		}
		m.unmount()
		if got := m.left("file"); got != "synced" {
			t.Errorf("machine %d has %q", i, got)
		}
	}
}

func TestKinds(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	must(t, os.MkdirAll(m.at("a/b"), 0o755), write(m.at("a/b/file"), "x"),
		os.Chmod(m.at("a/b/file"), 0o640), os.Chmod(m.at("a/b"), 0o711),
		os.Symlink("b/file", m.at("a/link")), os.Link(m.at("a/b/file"), m.at("a/hard")))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", m.at("sock"))
	must(t, err)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", m.at("sock"))
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, c.Close(), l.Close())
	check := func(root string) {
		t.Helper()
		for path, want := range map[string]os.FileMode{
			"a/b": os.ModeDir | 0o711, "a/b/file": 0o640, "a/hard": 0o640, "a/link": os.ModeSymlink | 0o777, "sock": os.ModeSocket | 0o755,
		} {
			info, err := os.Lstat(filepath.Join(root, path))
			must(t, err)
			if got := info.Mode(); got.Type() != want.Type() || got.Perm() != want.Perm() && want.Type() != os.ModeSocket {
				t.Errorf("%s is %v, want %v", path, got, want)
			}
		}
		b, err := os.ReadFile(filepath.Join(root, "a/link"))
		if string(b) != "x" || err != nil {
			t.Errorf("through the link: %q, %v", b, err)
		}
		info, err := os.Stat(filepath.Join(root, "a/hard"))
		must(t, err)
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Nlink != 2 {
			t.Errorf("links: %+v", info.Sys())
		}
	}
	check(m.mnt)
	m.unmount()
	check(m.disk)
	m.boot(2)
	check(m.mnt)
	must(t, write(m.at("a/hard"), "y"), fsync(m.at("a/b/file")))
	_, err = m.fs.CutWith(disk.LoseAll)
	must(t, err)
	m.unmount()
	if m.left("a/b/file") != "y" || m.left("a/hard") != "y" {
		t.Error("a file with two names is not one file")
	}
}

func TestUnlinkedButOpen(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	f, err := os.Create(m.at("file"))
	must(t, err)
	_, err = f.WriteString("hello")
	must(t, err, os.Remove(m.at("file")), fsync(m.mnt), f.Sync())
	b := make([]byte, 5)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	must(t, f.Close())
	m.unmount()
	if left, err := os.ReadDir(m.disk); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRefusals(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	must(t, os.Mkdir(m.at("dir"), 0o700), write(m.at("dir/file"), ""), os.Mkdir(m.at("other"), 0o700))
	for what, c := range map[string]struct{ got, want error }{
		"remove a full directory":     {syscall.Rmdir(m.at("dir")), syscall.ENOTEMPTY},
		"remove a file as directory":  {syscall.Rmdir(m.at("dir/file")), syscall.ENOTDIR},
		"rename over a full one":      {syscall.Rename(m.at("other"), m.at("dir")), syscall.ENOTEMPTY},
		"directory into itself":       {syscall.Rename(m.at("dir"), m.at("dir/below")), syscall.EINVAL},
		"make what is there":          {syscall.Mkdir(m.at("dir"), 0o700), syscall.EEXIST},
		"make the directory of ours":  {syscall.Mkdir(m.at(".powerfs"), 0o700), syscall.EEXIST},
		"rename what is not there":    {syscall.Rename(m.at("x"), m.at("y")), syscall.ENOENT},
		"rename without replacing":    {unix.Renameat2(unix.AT_FDCWD, m.at("dir"), unix.AT_FDCWD, m.at("other"), unix.RENAME_NOREPLACE), syscall.EEXIST},
		"exchange, which we have not": {unix.Renameat2(unix.AT_FDCWD, m.at("dir"), unix.AT_FDCWD, m.at("other"), unix.RENAME_EXCHANGE), syscall.EINVAL},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	must(t, syscall.Rename(m.at("dir"), m.at("other"))) // empty, so it may be replaced
	m.unmount()
	if m.left("other/file") != "" {
		t.Error("the directory did not replace the empty one")
	}
}

func TestListing(t *testing.T) {
	m := newMachine(t)
	m.boot(1)
	for i := range 2000 {
		must(t, write(m.at(fmt.Sprintf("%s-%04d", repeat("long", 20), i)), ""))
	}
	entries, err := os.ReadDir(m.mnt)
	must(t, err)
	if len(entries) != 2000 {
		t.Errorf("%d entries, want 2000", len(entries))
	}
	must(t, os.RemoveAll(m.at("x")))
	for _, e := range entries[:1000] {
		must(t, os.Remove(m.at(e.Name())))
	}
	m.unmount()
	left, err := os.ReadDir(m.disk)
	must(t, err)
	if len(left) != 1000 {
		t.Errorf("%d files on the disk, want 1000", len(left))
	}
}

func TestMountRefused(t *testing.T) {
	m := newMachine(t)
	if _, err := powerfs.Mount(filepath.Join(m.disk, "missing"), m.mnt, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no backing directory: %v", err)
	}
	if _, err := powerfs.Mount(m.disk, filepath.Join(m.mnt, "missing"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no mount point: %v", err)
	}
	must(t, os.Mkdir(filepath.Join(m.disk, ".powerfs"), 0o700))
	if _, err := powerfs.Mount(m.disk, m.mnt, 1); err == nil || !strings.Contains(err.Error(), "without an image") {
		t.Errorf("a backing directory in use: %v", err)
	}
}
