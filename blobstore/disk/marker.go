package disk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// What may be wrong with whose store a directory is.
var (
	ErrForeign  = errors.New("store belongs to another node, or is another of this one's stores")
	ErrMarker   = errors.New("marker of the store is damaged")
	ErrNotEmpty = errors.New("directory holds blobs but no marker")
)

// ForeignError says whose store it is, and which of theirs. It is ErrForeign.
type ForeignError struct {
	Found, Want         blobstore.Incarnation
	FoundName, WantName string
}

// Error is for people.
func (e *ForeignError) Error() string {
	if e.Found != e.Want {
		return fmt.Sprintf("store belongs to incarnation %s, not to %s", e.Found, e.Want)
	}
	return fmt.Sprintf("it is store %q of this node, not %q", e.FoundName, e.WantName)
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
	m, err := readMarker(SystemFiles(root))
	if err = errors.Join(err, root.Close()); err != nil {
		return blobstore.Incarnation{}, fmt.Errorf("read marker of %s: %w", dir, err)
	}
	return m.incarnation, nil
}

// marker says whose store a directory is. The name is in it because two stores of a node that were taken for each other
// would both be swept.
type marker struct {
	incarnation blobstore.Incarnation
	name        string
}

// checkMarker returns nil if the marker is there and says what it should.
func checkMarker(files Files, want marker) error {
	found, err := readMarker(files)
	if err == nil && found != want {
		err = &ForeignError{Found: found.incarnation, Want: want.incarnation, FoundName: found.name, WantName: want.name}
	}
	return err
}

func readMarker(files Files) (marker, error) {
	b, err := readFile(files, markerName, 1<<12)
	if errors.Is(err, fs.ErrNotExist) {
		return marker{}, fmt.Errorf("%w: %w", blobstore.ErrOffline, err)
	}
	if err != nil {
		return marker{}, err
	}
	return decodeMarker(b)
}

// markerHead is the first line of a marker, for whoever finds the file.
const markerHead = "blob store of a registry's node, incarnation, name and check sum:"

func (m marker) encode() []byte {
	name := strconv.QuoteToASCII(m.name)
	return fmt.Appendf(nil, "%s\n%s %s %08x\n", markerHead, m.incarnation, name, sums.Of(append(m.incarnation[:], name...)))
}

// decodeMarker takes exactly what encode makes, and returns ErrMarker for all else.
func decodeMarker(b []byte) (m marker, err error) {
	lines := strings.Split(string(b), "\n")
	if digits := hex.EncodedLen(len(m.incarnation)); len(lines) == 3 && len(lines[1]) > digits {
		_, failed := hex.Decode(m.incarnation[:], []byte(lines[1][:digits]))
		quoted, _ := strconv.QuotedPrefix(lines[1][digits+1:])
		m.name, err = strconv.Unquote(quoted)
		if failed == nil && err == nil && string(m.encode()) == string(b) {
			return m, nil
		}
	}
	return marker{}, fmt.Errorf("%w: %q", ErrMarker, b)
}
