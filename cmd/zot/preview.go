package main

import (
	"context"
	"time"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// repositoryPreview is a retention.Preview as JSON.
type repositoryPreview struct {
	Repository     string        `json:"repository"`
	Policy         int           `json:"policy"`
	Tags           int           `json:"tags"`
	Manifests      int           `json:"manifests"`
	GoingTags      int           `json:"goingTags"`
	GoingManifests int           `json:"goingManifests"`
	Things         []thingInView `json:"things,omitempty"`
}

// thingInView is a tag, or a manifest if it has none, and what would become of it.
type thingInView struct {
	Tag    string    `json:"tag,omitempty"`
	Digest string    `json:"digest"`
	Pushed time.Time `json:"pushed"`
	Pulled time.Time `json:"pulled,omitzero"` // zero: never
	Goes   bool      `json:"goes"`
	Reason string    `json:"reason"`
}

// preview is what policies would do now to the repositories behind one.
func preview(ctx context.Context, state *fsm.State, r previewRequest) (previewAnswer, error) {
	policies, err := retention.Compile(r.Retention)
	if err != nil {
		return previewAnswer{}, refusal(err.Error())
	}
	now := time.Now().UTC() // to the millisecond: what was pushed in this second is not yet to come
	page, more, err := policies.Previews(ctx, state, r.Store, r.After, now, r.All)
	a := previewAnswer{Date: now.Truncate(time.Second), More: more}
	for _, p := range page {
		one := repositoryPreview{
			Repository: p.Repository, Policy: p.Policy, Tags: p.Tags, Manifests: p.Manifests, GoingTags: p.GoingTags, GoingManifests: p.GoingManifests,
		}
		for _, t := range p.Things {
			one.Things = append(one.Things, thingInView{t.Tag, t.Digest.String(), dateOf(t.Pushed), dateOf(t.Pulled), t.Goes, t.Why})
		}
		a.Repositories = append(a.Repositories, one)
	}
	return a, err
}

// dateOf is a date in Unix milliseconds; the zero time of 0.
func dateOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
