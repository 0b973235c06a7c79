package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// maxTrusted is how much is read of a file with a key or certificates, in bytes: one more than a node takes.
const maxTrusted = 64<<10 + 1

// Trusted is a public key, or certificates, by which signatures of images are believed.
type Trusted struct {
	Tool    string `json:"tool"`
	Store   string `json:"store,omitempty"`
	Name    string `json:"name,omitempty"`
	Content []byte `json:"content"`
}

// readTrusted reads the keys of cosign and the certificates of notation that a zot's root directory has. No link leads out
// of it.
func readTrusted(root string) (all []Trusted, err error) {
	in, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	files, err := fs.Glob(in.FS(), "_cosign/*")
	if err != nil {
		return nil, err
	}
	more, err := fs.Glob(in.FS(), "_notation/truststore/x509/*/*/*")
	if err != nil {
		return nil, err
	}
	for _, name := range append(files, more...) {
		if info, err := in.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		t := Trusted{Tool: "cosign"}
		if parts := strings.Split(path.Dir(name), "/"); len(parts) == 5 {
			t = Trusted{Tool: "notation", Store: parts[3], Name: parts[4]}
		}
		if t.Content, err = readSome(in, name); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, t)
	}
	return all, nil
}

func readSome(in *os.Root, name string) ([]byte, error) {
	f, err := in.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTrusted))
	return b, errors.Join(err, f.Close())
}
