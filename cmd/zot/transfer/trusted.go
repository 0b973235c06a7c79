package transfer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// maxTrusted is how much is read of a file with a key or certificates, in bytes: one more than a node takes.
const maxTrusted = 64<<10 + 1

// Trusted is a public key, or certificates, by which signatures of images are believed.
type Trusted struct {
	Tool    string `json:"tool"`
	Store   string `json:"store,omitempty"`
	Name    string `json:"name,omitempty"`
	Content []byte `json:"content"`
	File    string `json:"file"` // that it was in
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
	for _, folder := range []string{"_cosign", "_notation/truststore/x509"} {
		err := fs.WalkDir(in.FS(), folder, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil || !entry.Type().IsRegular():
				return err
			}
			t := Trusted{Tool: "cosign", File: name}
			if folder != "_cosign" {
				t.Tool, t.Name = "notation", path.Base(path.Dir(name))
				t.Store = path.Base(path.Dir(path.Dir(name)))
			}
			if t.Content, err = readSome(in, name); err != nil {
				return err
			}
			all = append(all, t)
			return nil
		})
		if err != nil {
			return nil, err
		}
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
