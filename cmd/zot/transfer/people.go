package transfer

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// People is what people have left in a zot: API keys, of which it has the hash alone, stars and bookmarks, and keys by which
// signatures are believed.
type People struct {
	Keys    []Key
	Marks   []Mark
	Trusted []Trusted
}

// Key is an API key. Hash is the SHA-256 of what stands behind "zak_" in the key, in hexadecimal: that is what we keep
// too, so the key goes on working.
type Key struct {
	Hash    string    `json:"hash"`
	ID      string    `json:"id"` // of 16 bytes, in hexadecimal
	Owner   string    `json:"owner"`
	Label   string    `json:"label,omitempty"`
	Scopes  []string  `json:"scopes,omitempty"`
	Creator string    `json:"creator,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// Mark is a star or a bookmark.
type Mark struct {
	User       string `json:"user"`
	Repository string `json:"repository"`
	Bookmark   bool   `json:"bookmark,omitempty"`
}

// userData is how zot keeps what it knows of a user: JSON, under the user's name, in all its versions.
type userData struct {
	StarredRepos    []string
	BookmarkedRepos []string
	APIKeys         map[string]struct {
		ExpirationDate time.Time `json:"expirationDate"`
		IsExpired      bool      `json:"isExpired"`
		CreatorUA      string    `json:"creatorUa"`
		Label          string    `json:"label"`
		Scopes         []string  `json:"scopes"`
		UUID           string    `json:"uuid"`
	}
}

// userBucket holds them.
const userBucket = "UserData"

// databases are the files that may have them: of zot since 2.0, and before.
func databases() []string { return []string{"meta.db", "repo.db"} }

// ReadPeople reads what people have left in a zot's root directory. There is nothing in one without a database; one
// that a running zot holds is an error, after some seconds.
func ReadPeople(root string) (p People, err error) {
	if p.Trusted, err = readTrusted(root); err != nil {
		return People{}, fmt.Errorf("keys for signatures: %w", err)
	}
	for _, name := range databases() {
		file := filepath.Join(root, name)
		if info, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil || !info.Mode().IsRegular() {
			return People{}, errors.Join(fmt.Errorf("%s is no plain file", file), err)
		}
		err := p.read(file)
		if errors.Is(err, bolterrors.ErrTimeout) {
			err = errors.New("a running zot holds it: stop that first")
		}
		if err != nil {
			return People{}, fmt.Errorf("read %s: %w", file, err)
		}
		return p, nil // the older one is what an upgrade has left
	}
	return p, nil
}

func (p *People) read(file string) (err error) {
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: 3 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bolt.Tx) error {
		users := tx.Bucket([]byte(userBucket))
		if users == nil {
			return nil
		}
		return users.ForEach(func(name, value []byte) error {
			var u userData
			if err := json.Unmarshal(value, &u); err != nil {
				return fmt.Errorf("user %q: %w", name, err)
			}
			p.add(string(name), u)
			return nil
		})
	})
}

// add adds what one user has. Keys that are over are left out.
func (p *People) add(name string, u userData) {
	for hash, k := range u.APIKeys {
		id := strings.ReplaceAll(k.UUID, "-", "")
		if _, err := hex.DecodeString(id); err != nil || len(id) != 32 {
			id = hash[:min(len(hash), 32)] // it needs one that is its own
		}
		if k.IsExpired || !k.ExpirationDate.IsZero() && k.ExpirationDate.Before(time.Now()) {
			continue
		}
		p.Keys = append(p.Keys, Key{hash, id, name, k.Label, k.Scopes, k.CreatorUA, k.ExpirationDate})
	}
	for _, repository := range u.StarredRepos {
		p.Marks = append(p.Marks, Mark{User: name, Repository: repository})
	}
	for _, repository := range u.BookmarkedRepos {
		p.Marks = append(p.Marks, Mark{User: name, Repository: repository, Bookmark: true})
	}
}

// peopleAPage is how many keys or marks are sent at once.
const peopleAPage = 50

// PutPeople gives a node what people have left. It may be repeated: what is there stays as it is. It returns how many
// were taken and how many were there, and a line for each that was refused.
func (n *Node) PutPeople(ctx context.Context, p People) (taken, there int, refused []string, err error) {
	send := func(in any) error {
		var out struct {
			Taken, There int
			Refused      []string
		}
		err := n.call(ctx, "/import/people", in, &out)
		taken, there, refused = taken+out.Taken, there+out.There, append(refused, out.Refused...)
		return err
	}
	for page := range slices.Chunk(p.Keys, peopleAPage) {
		if err := send(map[string]any{"keys": page}); err != nil {
			return taken, there, refused, err
		}
	}
	for page := range slices.Chunk(p.Marks, peopleAPage) {
		if err := send(map[string]any{"marks": page}); err != nil {
			return taken, there, refused, err
		}
	}
	for _, one := range p.Trusted { // which may be large
		if err := send(map[string]any{"trusted": []Trusted{one}}); err != nil {
			return taken, there, refused, err
		}
	}
	return taken, there, refused, nil
}
