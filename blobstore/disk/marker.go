package disk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// What may be wrong with whose store a directory is.
var (
	ErrForeign  = errors.New("store belongs to another incarnation")
	ErrMarker   = errors.New("marker of the store is damaged")
	ErrNotEmpty = errors.New("directory holds blobs but no marker")
)

// ForeignError says whose store it is. It is ErrForeign.
type ForeignError struct {
	Found, Want blobstore.Incarnation
}

// Error is for people.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%v %s, not %s", ErrForeign, e.Found, e.Want)
}

// Is makes the error ErrForeign.
func (e *ForeignError) Is(target error) bool { return target == ErrForeign }

// ReadMarker says whose store a directory is. It returns blobstore.ErrOffline if there is no marker, and
// ErrMarker if it cannot be read.
func ReadMarker(dir string) (blobstore.Incarnation, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", blobstore.ErrOffline, err)
	}
	if err != nil {
		return blobstore.Incarnation{}, fmt.Errorf("read marker: %w", err)
	}
	i, err := readMarker(SystemFiles(root))
	if err = errors.Join(err, root.Close()); err != nil {
		return blobstore.Incarnation{}, fmt.Errorf("read marker of %s: %w", dir, err)
	}
	return i, nil
}

// checkMarker returns nil if the marker is there and i's.
func checkMarker(files Files, i blobstore.Incarnation) error {
	found, err := readMarker(files)
	if err == nil && found != i {
		err = &ForeignError{Found: found, Want: i}
	}
	return err
}

func readMarker(files Files) (blobstore.Incarnation, error) {
	b, err := readFile(files, markerName, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return blobstore.Incarnation{}, fmt.Errorf("%w: %w", blobstore.ErrOffline, err)
	}
	if err != nil {
		return blobstore.Incarnation{}, err
	}
	return decodeMarker(b)
}

// markerHead is the first line of a marker, for whoever finds the file.
const markerHead = "blob store of a registry's node, incarnation and check sum:"

func encodeMarker(i blobstore.Incarnation) []byte {
	return fmt.Appendf(nil, "%s\n%s %08x\n", markerHead, i, sums.Of(i[:]))
}

// decodeMarker takes exactly what encodeMarker makes, and returns ErrMarker for all else.
func decodeMarker(b []byte) (i blobstore.Incarnation, err error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) == 3 && len(lines[1]) >= hex.EncodedLen(len(i)) {
		if _, err := hex.Decode(i[:], []byte(lines[1][:hex.EncodedLen(len(i))])); err == nil && string(encodeMarker(i)) == string(b) {
			return i, nil
		}
	}
	return blobstore.Incarnation{}, fmt.Errorf("%w: %q", ErrMarker, b)
}
