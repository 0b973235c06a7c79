package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// ReadIndex makes alone a node that takes part in the order of things.
func (*alone) ReadIndex(context.Context) error { return nil }

// newIntakeOf is the intake of a cluster of one whose store is in a directory, beside which a file lies.
func newIntakeOf(t *testing.T) (in intake, local *disk.Store, a *alone, source, content string) {
	t.Helper()
	a = newAlone(t)
	a.do(t, fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{1}, Name: "zot-0", Address: "zot:7373", Level: 1}})
	a.do(t, fsm.NodeJoined{Incarnation: entry.Incarnation{1}})
	dir := t.TempDir()
	c := disk.Config{Dir: filepath.Join(dir, "store"), Incarnation: blobstore.Incarnation{1}}
	if err := disk.Create(c); err != nil {
		t.Fatal(err)
	}
	local, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close() })
	source, content = filepath.Join(dir, "source"), "a layer"
	if err := os.MkdirAll(filepath.Join(source, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(source, "in", "layer"), content)
	put(t, filepath.Join(dir, "outside"), content)
	if err := os.Symlink(filepath.Join(dir, "outside"), filepath.Join(source, "in", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("layer", filepath.Join(source, "in", "same")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(source, "out")); err != nil {
		t.Fatal(err)
	}
	only := &store{SubPath: config.SubPath{Name: fsm.DefaultStore}, local: local, linked: make(chan struct{}, 1)}
	return intake{a.State, a, func() fsm.Proposer { return a }, stores{only}}, local, a, source, content
}

func TestLinkOfAFile(t *testing.T) {
	t.Parallel()
	in, local, a, source, content := newIntakeOf(t)
	d := digest.FromString(content)
	request := func(file string, size int) linkRequest {
		return linkRequest{Repository: "team/app", Digest: d.String(), Size: int64(size), Directory: source, File: file}
	}
	for file, size := range map[string]int{
		"in/link": len(content), "in/same": len(content), "out/outside": len(content), "in/none": len(content), "in": len(content), "in/layer": len(content) + 1,
	} {
		if answer, err := in.link(t.Context(), request(file, size)); err != nil || answer.Linked || answer.Why == "" {
			t.Errorf("%s of %d bytes: %+v, %v", file, size, answer, err)
		}
	}
	for _, r := range []linkRequest{
		{Repository: "team/app", Digest: d.String(), Size: 7, Directory: source, File: "../outside"},
		{Repository: "team/app", Digest: d.String(), Size: 7, Directory: "source", File: "in/layer"},
		{Repository: "Team", Digest: d.String(), Size: 7, Directory: source, File: "in/layer"},
		{Repository: "team/app", Digest: "sha256:12", Size: 7, Directory: source, File: "in/layer"},
	} {
		if answer, err := in.link(t.Context(), r); err == nil {
			t.Errorf("%+v: %+v", r, answer)
		}
	}
	for id, err := range local.Copies(t.Context(), blobstore.CopyID{}) {
		t.Errorf("%s is left, %v", id, err)
	}
	if answer, err := in.link(t.Context(), request("in/layer", len(content))); err != nil || !answer.Linked {
		t.Fatalf("%+v, %v", answer, err)
	}
	if len(in.stores[0].linked) != 1 {
		t.Error("nobody is told that there is something to hash")
	}
	err := a.View(func(v fsm.View) error {
		packed, err := fsm.Pack(d)
		b, known := v.Blob(fsm.DefaultStore, packed)
		if !known || len(b.Copies) != 1 || !local.IsUnsummed(blobstore.CopyID(b.Copies[0].Copy)) {
			t.Errorf("recorded is %+v", b)
		}
		if _, missing := v.Link("team/app", packed); missing != nil {
			t.Error(missing)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	in.stores[0].local = bucketStore{}
	if answer, err := in.link(t.Context(), request("in/layer", len(content))); err != nil || answer.Linked || answer.Why == "" {
		t.Errorf("with a bucket: %+v, %v", answer, err)
	}
}

// Keys that are taken in open what they did, and asking again changes nothing.
func TestTakePeopleIn(t *testing.T) {
	t.Parallel()
	in, _, a, source, content := newIntakeOf(t)
	if answer, err := in.link(t.Context(), linkRequest{"team/app", digest.FromString(content).String(), int64(len(content)), source, "in/layer"}); err != nil || !answer.Linked {
		t.Fatalf("%+v, %v", answer, err)
	}
	const shown = "zak_0123456789abcdef0123456789abcdef"
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	r := peopleRequest{
		Keys: []importedKey{
			{"f28a60ad93d7e9c43ce8bf4af4f1ee1d4a4b5f9ea2a1ee3e1dbcc1b9f47ba4c7", strings.Repeat("1", 32), "alice", "none", nil, "", time.Time{}},
			{digest.FromString(strings.TrimPrefix(shown, "zak_")).Encoded(), strings.Repeat("2", 32), "alice", "ci", []string{"team/**"}, "curl", expires},
			{"12", strings.Repeat("3", 32), "alice", "bad", nil, "", time.Time{}},
		},
		Marks: []importedMark{{"alice", "team/app", false}, {"bob", "team/app", true}, {"bob", "gone", false}, {"", "team/app", false}},
		Trusted: []importedTrust{
			{"cosign", "", "", []byte(matrixKey), "a"},
			{"notation", "ca", "default", []byte(matrixCertificate), "b"},
			{"cosign", "", "", []byte("no key"), "c"},
			{"gpg", "", "", []byte(matrixKey), "d"},
			{"notation", "root", "default", []byte(matrixCertificate), "e"},
		},
	}
	for i, want := range []peopleAnswer{{Taken: 6}, {There: 6}} {
		answer, err := in.people(t.Context(), r)
		if err != nil || answer.Taken != want.Taken || answer.There != want.There || len(answer.Refused) != 6 {
			t.Errorf("the time %d: %+v, %v", i, answer, err)
		}
	}
	err := a.View(func(v fsm.View) error {
		k, known := v.APIKey(fsm.HashAPIKey(shown))
		if !known || k.Owner != "alice" || k.Label != "ci" || len(k.Scopes) != 1 || k.Expires != expires.UnixMilli() {
			t.Errorf("the key is %+v", k)
		}
		starred, _ := v.Marked("alice", "team/app")
		_, bookmarked := v.Marked("bob", "team/app")
		if !starred || !bookmarked || v.Stars("team/app") != 1 {
			t.Error("marks are missing")
		}
		if all := v.TrustedKeys(); len(all) != 2 || string(all[0].Content) != matrixKey || string(all[1].Content) != matrixCertificate || all[1].Store != "ca" || all[1].Name != "default" {
			t.Errorf("keys for signatures are %+v", all)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
