package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// roundTimeout is how long an operator waits for the newest state before he is shown what is here.
const roundTimeout = 3 * time.Second

// ordering is a node that takes part in the order of things.
type ordering interface {
	ReadIndex(ctx context.Context) error
	Propose(ctx context.Context, payload []byte) (entry.Result, error)
}

// contents is what is in the registry, as its operator sees and changes it.
type contents struct {
	state *fsm.State
	node  ordering
}

// What the operator asks and is answered, as JSON.
type (
	tagRequest struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
	}
	// target is a manifest that a tag names or named.
	target struct {
		Digest string    `json:"digest"`
		From   time.Time `json:"from"`
		Until  time.Time `json:"until,omitzero"` // zero: it still does
		Here   bool      `json:"here"`           // the repository has the manifest
	}
	tagHistory struct {
		Tags  []tagPast `json:"tags"`
		Stale bool      `json:"stale"` // there was no quorum to ask
	}
	// tagPast is what a tag named, the newest first: what it names now, if it exists, and what it named before.
	tagPast struct {
		Tag   string   `json:"tag"`
		Now   *target  `json:"now,omitempty"`
		Names []target `json:"names"`
	}
	restoreRequest struct {
		tagRequest

		Digest string `json:"digest"`
		Is     string `json:"is,omitempty"` // what the tag must name now; "" for one that must not exist
	}
	previewRequest struct {
		Store     string           `json:"store"`
		Retention retention.Config `json:"retention"`
		After     string           `json:"after"`
		All       bool             `json:"all"`
	}
	previewAnswer struct {
		Date         time.Time           `json:"date"`
		Repositories []repositoryPreview `json:"repositories"`
		More         bool                `json:"more"`
	}
)

// refusal is an answer that it makes no sense to ask for again.
type refusal string

// Error is for the operator.
func (r refusal) Error() string { return string(r) }

// handler answers below /registry/.
func (c contents) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /registry/tag/history", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r tagRequest
		if err := body.Decode(&r); err != nil || r.Repository == "" {
			return nil, errBadRequest
		}
		return c.history(ctx, r)
	}))
	mux.HandleFunc("POST /registry/tag/restore", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r restoreRequest
		if err := body.Decode(&r); err != nil || r.Repository == "" || r.Tag == "" {
			return nil, errBadRequest
		}
		return struct{}{}, c.restore(ctx, r)
	}))
	mux.HandleFunc("POST /registry/retention/preview", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r previewRequest
		if err := body.Decode(&r); err != nil {
			return nil, errBadRequest
		}
		return preview(ctx, c.state, r)
	}))
	return mux
}

// history returns what a tag named, or of a repository alone what those tags named that are deleted.
func (c contents) history(ctx context.Context, r tagRequest) (h tagHistory, err error) {
	round, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	h.Stale = c.node.ReadIndex(round) != nil
	err = c.state.View(func(v fsm.View) error {
		if _, err := v.Repository(r.Repository); err != nil {
			return refusal(fmt.Sprintf("there is no repository %s", r.Repository))
		}
		tags := []string{r.Tag}
		if r.Tag == "" {
			tags = v.DeletedTags(r.Repository)
		}
		for _, tag := range tags {
			h.Tags = append(h.Tags, pastOf(v, r.Repository, tag))
		}
		return nil
	})
	return h, err
}

func pastOf(v fsm.View, repository, tag string) tagPast {
	past := tagPast{Tag: tag}
	manifest := func(d fsm.Digest, from, until int64) target {
		n := target{Digest: d.String(), From: time.UnixMilli(from).UTC()}
		if until != 0 {
			n.Until = time.UnixMilli(until).UTC()
		}
		_, n.Here = v.Manifest(repository, d)
		return n
	}
	if t, exists := v.Tag(repository, tag); exists {
		now := manifest(t.Digest, t.NamedAt, 0)
		past.Now = &now
	}
	for _, e := range slices.Backward(v.TagHistory(repository, tag).Entries) {
		past.Names = append(past.Names, manifest(e.Digest, e.NamedAt, e.Until))
	}
	return past
}

// restore makes a tag name a manifest again, if it is as the operator has seen it.
func (c contents) restore(ctx context.Context, r restoreRequest) error {
	cmd := fsm.RestoreTag{Repository: r.Repository, Tag: r.Tag, If: fsm.TagCondition{Absent: r.Is == ""}}
	var err error
	if cmd.Digest, err = packed(r.Digest); err != nil {
		return refusal(err.Error())
	}
	if r.Is != "" {
		if cmd.If.Is, err = packed(r.Is); err != nil {
			return refusal(err.Error())
		}
	}
	_, err = fsm.Do(ctx, c.node, cmd)
	switch {
	case errors.Is(err, fsm.ErrTagUnknown):
		return refusal(fmt.Sprintf("%s:%s never named %s, or that is forgotten", r.Repository, r.Tag, r.Digest))
	case errors.Is(err, fsm.ErrManifestUnknown):
		return refusal(fmt.Sprintf("%s is not in %s any more: it was deleted, and its bytes are collected or soon will be. Push it again", r.Digest, r.Repository))
	case errors.Is(err, fsm.ErrTagCondition):
		return refusal(fmt.Sprintf("%s:%s was changed meanwhile: look again with 'zot tag history'", r.Repository, r.Tag))
	case errors.Is(err, fsm.ErrReadOnly):
		return refusal(err.Error() + ". 'zot cluster read-only off' ends that")
	}
	return err
}

func packed(text string) (fsm.Digest, error) {
	d, err := oci.ParseDigest(text)
	if err != nil {
		return "", err
	}
	return fsm.Pack(d)
}
