package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
)

// limitsOf are the limits as the configuration has them.
func limitsOf(c config.Config) fsm.Limits {
	l := fsm.Limits{MaxRepositories: int64(c.Storage.MaxRepositories)}
	for _, q := range c.Cluster.Quotas {
		l.Quotas = append(l.Quotas, fsm.Quota(q))
	}
	return l
}

// limitsNow are those that the state goes by.
func limitsNow(state *fsm.State) (now fsm.Limits, err error) {
	err = state.View(func(v fsm.View) error { now = v.Limits(); return nil })
	return now, err
}

func sameLimits(a, b fsm.Limits) bool {
	return a.MaxRepositories == b.MaxRepositories && slices.Equal(a.Quotas, b.Quotas)
}

// setLimits is the leader's job: the state takes its limits from the leader's file.
func setLimits(state *fsm.State, want fsm.Limits, p fsm.Proposer, log hclog.Logger) jobs.Job {
	return jobs.Job{Name: "set limits", Every: storesEvery, Do: func(ctx context.Context) error {
		now, err := limitsNow(state)
		if err != nil || sameLimits(now, want) {
			return err
		}
		if _, err := fsm.Do(ctx, p, fsm.SetLimits{Limits: want}); err != nil {
			return fmt.Errorf("set the limits of repositories: %w", err)
		}
		log.Info("limits of repositories set", "max_repositories", want.MaxRepositories, "quotas", len(want.Quotas))
		return nil
	}}
}

// compareLimits is every node's job, as compareStores: it says so when a difference has lasted from one look to the
// next, for a leader that is new sets them in between.
func compareLimits(state *fsm.State, want fsm.Limits, leads func() bool, log hclog.Logger) jobs.Job {
	var seen, warned *fsm.Limits
	return jobs.Job{Name: "compare limits", Every: storesEvery, Do: func(context.Context) error {
		now, err := limitsNow(state)
		if err != nil {
			return err
		}
		before := seen
		if seen = &now; sameLimits(now, want) || leads() || before == nil || !sameLimits(*before, now) {
			return nil
		}
		if warned != nil && sameLimits(*warned, now) {
			return nil
		}
		warned = &now
		log.Warn("this node's file says otherwise of storage.maxRepos or cluster.quotas than the cluster goes by: make the files alike",
			"max_repositories", want.MaxRepositories, "cluster_max_repositories", now.MaxRepositories,
			"quotas", len(want.Quotas), "cluster_quotas", len(now.Quotas))
		return nil
	}}
}

// usage is what the registry has, and may have.
type usage struct {
	fsm.Used
	MaxRepositories int64          `json:"maxRepos,omitempty"` // 0: any number
	Quotas          []fsm.QuotaUse `json:"quotas,omitempty"`
	ReadOnly        *fsm.ReadOnly  `json:"readOnly,omitempty"` // nil: it may change
}

// usageOf is what the state says of limits and what is used of them.
func usageOf(state *fsm.State) (u usage, err error) {
	err = state.View(func(v fsm.View) error {
		u = usage{Used: v.Used(""), MaxRepositories: v.Limits().MaxRepositories, Quotas: v.QuotasUsed()}
		if now, is := v.ReadOnly(); is {
			u.ReadOnly = &now
		}
		return nil
	})
	return u, err
}

// maxQuotasShown is how many quotas people are shown, the fullest first; JSON has all.
const maxQuotasShown = 10

// text is some lines for people.
func (u usage) text() string {
	var b strings.Builder
	if u.ReadOnly != nil {
		fmt.Fprintf(&b, "READ-ONLY since %s: %s\n", time.UnixMilli(u.ReadOnly.Since).UTC().Format(time.RFC3339), cmp.Or(u.ReadOnly.Reason, "no reason was given"))
	}
	fmt.Fprintf(&b, "repositories: %d", u.Repositories)
	if u.MaxRepositories > 0 {
		fmt.Fprintf(&b, " of %d", u.MaxRepositories)
	}
	fmt.Fprintf(&b, ", with %s\n", bytesText(u.Bytes))
	fullest := slices.Clone(u.Quotas)
	slices.SortStableFunc(fullest, func(a, b fsm.QuotaUse) int { return cmp.Compare(share(b), share(a)) })
	for _, q := range fullest[:min(len(fullest), maxQuotasShown)] {
		fmt.Fprintf(&b, "quota of %s: %s of %s (%.0f %%)\n", cmp.Or(q.Prefix, "the whole registry"), bytesText(q.Used), bytesText(q.Bytes), 100*share(q))
	}
	if more := len(fullest) - maxQuotasShown; more > 0 {
		fmt.Fprintf(&b, "and %d quotas that are less full; --json has all\n", more)
	}
	return b.String()
}

func share(q fsm.QuotaUse) float64 { return float64(q.Used) / float64(q.Bytes) }
