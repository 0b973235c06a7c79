package images

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

// FileName is what the one file in a layer is called.
func FileName(seed uint64) string { return fmt.Sprintf("content-%d", seed) }

// Random are size bytes that depend on the seed alone.
func Random(seed uint64, size int64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// WriteLayer writes a layer: a tar archive of one file of size random bytes.
func WriteLayer(w io.Writer, seed uint64, size int64) error {
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Name: FileName(seed), Mode: 0o644, Size: size, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, Random(seed, size)); err != nil {
		return err
	}
	return archive.Close()
}
