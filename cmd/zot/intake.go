package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/seed-16d79997/zot/auth/signed"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// manifestsAPage is how many manifests an answer lists, and tagsAPage how many tags are read at once.
const (
	manifestsAPage = 200
	tagsAPage      = 1000
)

// intake is what 'zot import' and 'zot export' need of a node beside the registry itself, which they push to and pull
// from as any client does.
type intake struct {
	state  *fsm.State
	node   ordering
	once   func() fsm.Proposer // bound to one request id
	stores stores
}

// What the operator asks and is answered, as JSON.
type (
	// linkRequest names a file below a directory, which no path may lead out of.
	linkRequest struct {
		Repository string `json:"repository"`
		Digest     string `json:"digest"`
		Size       int64  `json:"size"`
		Directory  string `json:"directory"` // absolute
		File       string `json:"file"`      // in the directory
	}
	linkAnswer struct {
		Linked bool   `json:"linked"`
		Why    string `json:"why,omitempty"` // it is not: the bytes have to be pushed
		Never  bool   `json:"never,omitempty"`
	}
	manifestsRequest struct {
		Repository string `json:"repository"`
		After      string `json:"after,omitempty"`
	}
	listedManifest struct {
		Digest    string   `json:"digest"`
		MediaType string   `json:"mediaType"`
		Size      int64    `json:"size"`
		Tags      []string `json:"tags,omitempty"`
	}
	manifestsAnswer struct {
		Manifests []listedManifest `json:"manifests"`
		More      bool             `json:"more"`
	}
	// peopleRequest is what people have left in another registry: keys by their hashes, marks, and keys for signatures.
	peopleRequest struct {
		Keys    []importedKey   `json:"keys,omitempty"`
		Marks   []importedMark  `json:"marks,omitempty"`
		Trusted []importedTrust `json:"trusted,omitempty"`
	}
	importedKey struct {
		Hash    string    `json:"hash"` // hexadecimal
		ID      string    `json:"id"`   // hexadecimal
		Owner   string    `json:"owner"`
		Label   string    `json:"label,omitempty"`
		Scopes  []string  `json:"scopes,omitempty"`
		Creator string    `json:"creator,omitempty"`
		Expires time.Time `json:"expires,omitzero"`
	}
	importedMark struct {
		User       string `json:"user"`
		Repository string `json:"repository"`
		Bookmark   bool   `json:"bookmark,omitempty"` // else a star
	}
	importedTrust struct {
		Tool    string `json:"tool"`
		Store   string `json:"store,omitempty"`
		Name    string `json:"name,omitempty"`
		Content []byte `json:"content"`
		File    string `json:"file"`
	}
	peopleAnswer struct {
		Taken   int      `json:"taken"`
		There   int      `json:"there"`             // already
		Refused []string `json:"refused,omitempty"` // a line for each
	}
)

// handler answers below /import/.
func (i intake) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /import/link", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r linkRequest
		if err := body.Decode(&r); err != nil {
			return nil, errBadRequest
		}
		return i.link(ctx, r)
	}))
	mux.HandleFunc("POST /import/people", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r peopleRequest
		if err := body.Decode(&r); err != nil {
			return nil, errBadRequest
		}
		return i.people(ctx, r)
	}))
	mux.HandleFunc("POST /import/manifests", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r manifestsRequest
		if err := body.Decode(&r); err != nil || r.Repository == "" {
			return nil, errBadRequest
		}
		return i.manifests(ctx, r)
	}))
	return mux
}

// link makes a blob of a file by a hard link. That it cannot is an answer, and no error.
func (i intake) link(ctx context.Context, r linkRequest) (linkAnswer, error) {
	d, err := packed(r.Digest)
	if err == nil {
		err = oci.ValidateRepository(r.Repository)
	}
	if err != nil || r.Size < 0 || !filepath.IsAbs(r.Directory) || !filepath.IsLocal(r.File) {
		return linkAnswer{}, errBadRequest
	}
	f, err := openPlain(r.Directory, r.File)
	if err != nil {
		return linkAnswer{Why: err.Error()}, nil //nolint:nilerr // that it cannot be linked is an answer
	}
	answer, err := i.linkFile(ctx, r, d, f)
	return answer, errors.Join(err, f.Close())
}

// openPlain opens a plain file below a directory, to read it.
func openPlain(directory, name string) (*os.File, error) {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	info, err := root.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no plain file", name)
	}
	var f *os.File
	if err == nil {
		f, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place would make us wait
	}
	return f, errors.Join(err, root.Close())
}

// linkFile is a push without its bytes: a stamp, then the copy, then its record (GC R6, R10). Once begun it goes on
// without its client: a copy that is not recorded would lie there until it is swept.
func (i intake) linkFile(ctx context.Context, r linkRequest, d fsm.Digest, f *os.File) (linkAnswer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminTimeout)
	defer cancel()
	cmd := fsm.BlobStored{Repository: r.Repository, Digest: d, Size: r.Size, Unsummed: true}
	if err := i.node.ReadIndex(ctx); err != nil {
		return linkAnswer{}, err
	}
	err := i.state.View(func(v fsm.View) error {
		cmd.Stamp, cmd.Store = v.Time(), i.stores.Route(r.Repository)
		if repository, err := v.Repository(r.Repository); err == nil {
			cmd.Store = repository.Store
		}
		return nil
	})
	if err != nil {
		return linkAnswer{}, err
	}
	s := i.stores.named(cmd.Store)
	if s == nil {
		return linkAnswer{Why: "this node's configuration has no store " + cmd.Store}, nil
	}
	to, ok := s.local.(linkable)
	if !ok {
		return linkAnswer{Why: "the copies of store " + s.Name + " are in a bucket, or its disk is not there"}, nil
	}
	at, err := to.Link(ctx, f, r.Size)
	if errors.Is(err, disk.ErrNotLinked) {
		return linkAnswer{Why: err.Error(), Never: errors.Is(err, os.ErrInvalid)}, nil
	}
	if err != nil {
		return linkAnswer{}, err
	}
	cmd.Locations = []fsm.Location{{Incarnation: [16]byte(at.Incarnation), Copy: fsm.CopyID(at.Copy)}}
	_, err = fsm.Do(ctx, i.once(), cmd)
	if refused, ok := errors.AsType[*fsm.Refusal](err); ok { // a push may do, or says why not; what was linked is swept
		return linkAnswer{Why: refused.Error()}, nil
	}
	if err != nil {
		return linkAnswer{}, err
	}
	wake(s.linked)
	return linkAnswer{Linked: true}, nil
}

// manifests lists what a repository has, tags or not.
func (i intake) manifests(ctx context.Context, r manifestsRequest) (a manifestsAnswer, err error) {
	after := fsm.Digest("")
	if r.After != "" {
		if after, err = packed(r.After); err != nil {
			return a, errBadRequest
		}
	}
	if err := i.node.ReadIndex(ctx); err != nil {
		return a, err
	}
	err = i.state.View(func(v fsm.View) error {
		if _, err := v.Repository(r.Repository); err != nil {
			return refusal(fmt.Sprintf("there is no repository %s", r.Repository))
		}
		all := v.Manifests(r.Repository, after, manifestsAPage)
		a.More = len(all) == manifestsAPage
		for _, m := range all {
			one := listedManifest{Digest: m.Digest.String(), MediaType: m.MediaType, Size: m.Size}
			for more, last := true, ""; more; {
				tags := v.TagsOf(r.Repository, m.Digest, last, tagsAPage)
				one.Tags = append(one.Tags, tags...)
				if more = len(tags) == tagsAPage; more {
					last = tags[len(tags)-1]
				}
			}
			a.Manifests = append(a.Manifests, one)
		}
		return nil
	})
	return a, err
}

// people takes keys and marks in. What is there already is left as it is, so that it may be asked again.
func (i intake) people(ctx context.Context, r peopleRequest) (a peopleAnswer, err error) {
	if err := i.node.ReadIndex(ctx); err != nil {
		return a, err
	}
	for _, k := range r.Keys {
		there, err := i.key(ctx, k)
		if err := a.add(there, err, fmt.Sprintf("key %q of %s", k.Label, k.Owner)); err != nil {
			return a, err
		}
	}
	for _, m := range r.Marks {
		there, err := i.mark(ctx, m)
		if err := a.add(there, err, fmt.Sprintf("mark of %s on %s", m.User, m.Repository)); err != nil {
			return a, err
		}
	}
	for _, t := range r.Trusted {
		there, err := i.trusted(ctx, t)
		if err := a.add(there, err, "key for signatures in "+t.File); err != nil {
			return a, err
		}
	}
	return a, nil
}

// add counts one, and returns an error that is about more than it.
func (a *peopleAnswer) add(there bool, err error, what string) error {
	_, refused := errors.AsType[*fsm.Refusal](err)
	_, unfit := errors.AsType[refusal](err)
	switch {
	case refused || unfit || errors.Is(err, errBadRequest):
		a.Refused = append(a.Refused, fmt.Sprintf("%s: %v", what, err))
	case err != nil:
		return err
	case there:
		a.There++
	default:
		a.Taken++
	}
	return nil
}

func (i intake) key(ctx context.Context, k importedKey) (there bool, err error) {
	cmd := fsm.CreateAPIKey{Owner: k.Owner, Label: k.Label, Scopes: k.Scopes, Creator: k.Creator}
	hash, err := hex.DecodeString(k.Hash)
	id, wrong := hex.DecodeString(k.ID)
	if err != nil || wrong != nil || len(hash) != len(cmd.Hash) || len(id) != len(cmd.ID) {
		return false, errBadRequest
	}
	copy(cmd.Hash[:], hash)
	copy(cmd.ID[:], id)
	if !k.Expires.IsZero() {
		cmd.Expires = max(1, k.Expires.UnixMilli())
	}
	err = i.state.View(func(v fsm.View) error {
		_, there = v.APIKey(cmd.Hash)
		return nil
	})
	if err != nil || there {
		return there, err
	}
	_, err = proposeFit(ctx, i, cmd)
	if errors.Is(err, fsm.ErrAPIKeyExists) {
		return true, nil
	}
	return false, err
}

func (i intake) mark(ctx context.Context, m importedMark) (there bool, err error) {
	cmd := fsm.SetPreference{User: m.User, Repository: m.Repository, Mark: fsm.Star, Change: fsm.SetMark}
	if m.Bookmark {
		cmd.Mark = fsm.Bookmark
	}
	err = i.state.View(func(v fsm.View) error {
		starred, bookmarked := v.Marked(m.User, m.Repository)
		there = m.Bookmark && bookmarked || !m.Bookmark && starred
		return nil
	})
	if err != nil || there {
		return there, err
	}
	_, err = proposeFit(ctx, i, cmd)
	return false, err
}

func (i intake) trusted(ctx context.Context, t importedTrust) (there bool, err error) {
	tool, ok := fsm.ParseSigningTool(t.Tool)
	if !ok {
		return false, errBadRequest
	}
	cmd := fsm.TrustKey{Tool: tool, Store: t.Store, Name: t.Name, Content: t.Content}
	if err := (signed.Trusted{Tool: signed.Tool(t.Tool), Store: t.Store, Content: t.Content}).Check(); err != nil {
		return false, refusal(err.Error())
	}
	err = i.state.View(func(v fsm.View) error {
		there = slices.ContainsFunc(v.TrustedKeys(), func(k fsm.TrustedKey) bool {
			return k.Tool == cmd.Tool && k.Store == cmd.Store && k.Name == cmd.Name && bytes.Equal(k.Content, cmd.Content)
		})
		return nil
	})
	if err != nil || there {
		return there, err
	}
	_, err = proposeFit(ctx, i, cmd)
	return false, err
}

// proposeFit proposes a command, and refuses one that no log takes: another registry's data may have any form.
func proposeFit[R any](ctx context.Context, i intake, cmd fsm.CommandOf[R]) (result R, err error) {
	if _, err := fsm.Encode(cmd); err != nil {
		return result, refusal(err.Error())
	}
	return fsm.Do(ctx, i.once(), cmd)
}
