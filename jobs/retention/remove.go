package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// remove removes what goes, unless somebody has come to need it since it was judged.
func (b *burst) remove(ctx context.Context, repository string, t Thing) error {
	removed, err := false, error(nil)
	if t.Tag != "" {
		removed, err = b.removeTag(ctx, repository, t)
	} else {
		removed, err = b.removeManifest(ctx, repository, t.Digest)
	}
	if err != nil {
		return fmt.Errorf("remove from %s what its policy does not keep: %w", repository, err)
	}
	if removed {
		b.count(t)
		b.say("tag removed", "manifest removed", repository, t)
	}
	return nil
}

// removeTag removes a tag, unless it has been deleted or moved.
func (b *burst) removeTag(ctx context.Context, repository string, t Thing) (removed bool, err error) {
	_, err = fsm.Do(ctx, b.Proposer, fsm.DeleteTag{Repository: repository, Tag: t.Tag, If: fsm.TagCondition{Is: t.Digest}})
	if errors.Is(err, fsm.ErrTagUnknown) || errors.Is(err, fsm.ErrTagCondition) {
		return false, nil
	}
	return err == nil, err
}

// removeManifest removes a manifest, unless it has been deleted or is needed.
//
// The command judges whether an index lists the manifest, but one tag or a new subject does not stop it.
// So the state is looked at just before, and again after: what was pushed between the two is put back.
func (b *burst) removeManifest(ctx context.Context, repository string, d fsm.Digest) (removed bool, err error) {
	var was fsm.PutManifest
	needed := true
	began := time.Now().UnixMilli() // by the clock that also dates the command
	err = b.State.View(func(v fsm.View) error {
		if m, is := v.Manifest(repository, d); is {
			tagged, listed, s := need(v, repository, m)
			needed = tagged || listed || s == there
			was = asPut(v, b.Store, repository, m)
		}
		return nil
	})
	if needed || err != nil {
		return false, err
	}
	_, err = fsm.Do(ctx, b.Proposer, fsm.DeleteManifest{Repository: repository, Digest: d, AtMostOneTag: true})
	if errors.Is(err, fsm.ErrManifestUnknown) || errors.Is(err, fsm.ErrManifestReferenced) || errors.Is(err, fsm.ErrManyTags) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	back, err := b.putBack(ctx, was, began)
	return !back, err
}

// putBack undoes the removal of a manifest that a tag had come to name, or whose subject had come, when it
// was removed.
func (b *burst) putBack(ctx context.Context, was fsm.PutManifest, began int64) (back bool, err error) {
	err = b.State.View(func(v fsm.View) error {
		for _, tag := range tagsLost(v, was, began) {
			was.Tags = append(was.Tags, fsm.TagMove{Tag: tag, If: fsm.TagCondition{Absent: true}})
		}
		_, is := v.Manifest(was.Repository, was.Subject)
		back = len(was.Tags) > 0 || was.Subject != "" && is
		return nil
	})
	if !back || err != nil {
		return false, err
	}
	_, err = fsm.Do(ctx, b.Proposer, was)
	if errors.Is(err, fsm.ErrTagCondition) { // somebody has pushed to the tag again
		return false, nil
	}
	if err != nil {
		b.Logger.Error("a manifest was pushed while it was removed, and cannot be put back: push it again", "store", b.Store,
			"repository", was.Repository, "digest", was.Digest.String(), "tags", was.Tags, "error", err)
	}
	return err == nil, err
}

// maxLost is how far tags that a command has deleted are looked for among those that were deleted last. A
// command as ours deletes one at most.
const maxLost = 16

// tagsLost returns the tags that went with a manifest.
func tagsLost(v fsm.View, was fsm.PutManifest, began int64) (lost []string) {
	deleted := v.DeletedTags(was.Repository)
	for _, tag := range deleted[:min(maxLost, len(deleted))] {
		entries := v.TagHistory(was.Repository, tag).Entries
		if len(entries) == 0 {
			continue
		}
		if last := entries[len(entries)-1]; last.Digest == was.Digest && last.Until >= began {
			lost = append(lost, tag)
		}
	}
	return lost
}

// asPut is the command that makes a manifest what it is.
func asPut(v fsm.View, store, repository string, m fsm.Manifest) fsm.PutManifest {
	c := fsm.PutManifest{
		Repository: repository, Store: store, Digest: m.Digest, Size: m.Size, MediaType: m.MediaType,
		Body: bytes.Clone(v.Body(repository, m.Digest)), Subject: m.Subject, ArtifactType: m.ArtifactType,
	}
	c.Blobs, c.Manifests = v.References(repository, m.Digest)
	if m.Subject == "" {
		return c
	}
	before := fsm.Referrer{ArtifactType: m.ArtifactType, Digest: m.Digest[:len(m.Digest)-1]} // sorts before it
	for _, r := range v.Referrers(repository, m.Subject, "", before, 1) {
		if r.Digest == m.Digest {
			c.Annotations, c.InBody = r.Annotations, r.InBody
		}
	}
	return c
}
