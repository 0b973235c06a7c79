package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

// BenchmarkWrite pushes blobs all the way, up to the fsync of the directory.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := open(b, newStore(b, nil))
			p := storetest.Bytes(1, size)
			d := digest.FromBytes(p)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				id := storetest.ID(fmt.Sprint(i))
				must(b, s.CreateUpload(b.Context(), id, "", 1))
				_, err := s.Append(b.Context(), id, 0, bytes.NewReader(p), 1)
				must(b, err)
				_, err = s.Finish(b.Context(), id, d)
				must(b, err)
				at, err := s.Publish(b.Context(), id)
				must(b, err)
				must(b, s.RemoveUpload(b.Context(), id))
				b.StopTimer()
				must(b, s.RemoveCopies(b.Context(), at[0].Copy)) // or the disk fills up
				b.StartTimer()
			}
		})
	}
}

// BenchmarkWriteFloor is what the disk itself takes for such a file: write, fsync, rename, fsync of the
// directory.
func BenchmarkWriteFloor(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			dir, p := b.TempDir(), storetest.Bytes(1, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				f, err := os.Create(dir + "/draft")
				must(b, err)
				_, err = f.Write(p)
				must(b, errors.Join(err, f.Sync(), f.Close(), os.Rename(dir+"/draft", dir+"/file")))
				d, err := os.Open(dir)
				must(b, err)
				must(b, errors.Join(d.Sync(), d.Close()))
			}
		})
	}
}

// BenchmarkSend sends 1 GiB to a TCP connection on this machine: checked, and straight from the file.
func BenchmarkSend(b *testing.B) {
	const size = 1 << 30
	c := newStore(b, nil)
	s := open(b, c)
	id := storetest.ID("big")
	must(b, s.CreateUpload(b.Context(), id, "", 1))
	h := digest.SHA256.Digester()
	part := storetest.Bytes(1, 64<<20)
	for range size / len(part) {
		_, err := s.Append(b.Context(), id, -1, io.TeeReader(bytes.NewReader(part), h.Hash()), 1)
		must(b, err)
	}
	_, err := s.Finish(b.Context(), id, h.Digest())
	must(b, err)
	at, err := s.Publish(b.Context(), id)
	must(b, err)
	blob := blobstore.Blob{Digest: h.Digest(), Size: size, Locations: at}

	for _, way := range []struct {
		name string
		send func(w *net.TCPConn) error
	}{
		{"checked", func(w *net.TCPConn) error {
			r, err := s.Open(b.Context(), blob, 0, -1)
			if err != nil {
				return err
			}
			_, err = r.WriteTo(w)
			return errors.Join(err, r.Close())
		}},
		{"unchecked", func(w *net.TCPConn) error {
			f, err := os.Open(copyPath(c, at[0].Copy))
			if err != nil {
				return err
			}
			_, err = w.ReadFrom(f)
			return errors.Join(err, f.Close())
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			w := sink(b)
			b.SetBytes(size)
			for b.Loop() {
				must(b, way.send(w))
			}
		})
	}
	b.Run("read", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			r, err := s.Open(b.Context(), blob, 0, -1)
			must(b, err)
			_, err = io.Copy(struct{ io.Writer }{io.Discard}, r)
			must(b, errors.Join(err, r.Close()))
		}
	})
}

// sink is a connection whose other end throws away what comes.
func sink(b *testing.B) *net.TCPConn {
	b.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	must(b, err)
	drained := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, c)
			err = errors.Join(err, c.Close())
		}
		drained <- errors.Join(err, l.Close())
	}()
	var d net.Dialer
	c, err := d.DialContext(b.Context(), "tcp", l.Addr().String())
	must(b, err)
	b.Cleanup(func() { must(b, errors.Join(c.Close(), <-drained)) })
	return c.(*net.TCPConn)
}
