package images

import (
	"archive/tar"
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// FileName is what the one file in a layer is called.
const FileName = "content"

// Random are size bytes that depend on the seed alone.
func Random(seed uint64, size int64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// WriteLayer writes a layer: a tar archive of one file of size random bytes.
func WriteLayer(w io.Writer, seed uint64, size int64) error {
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Name: FileName, Mode: 0o644, Size: size, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, Random(seed, size)); err != nil {
		return err
	}
	return archive.Close()
}
