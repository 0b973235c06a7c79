package main

import (
	"context"
	"time"

	"github.com/seed-16d79997/zot/jobs"
)

const (
	recountEvery = 24 * time.Hour
	recountAfter = time.Hour // since the start: a node that comes up has something better to do
)

// recountState is every node's job: once a day it counts the state hash anew from the records, for the running
// sums do not see bits that change on the disk (DESIGN 2). A node whose records differ is fenced by that.
func recountState(recount func(ctx context.Context, pace func(ctx context.Context, bytes int) error) error, pace *jobs.Pace) jobs.Job {
	begin := time.Now().Add(recountAfter)
	return jobs.Job{Name: "recount the state", Every: recountEvery, Do: func(ctx context.Context) error {
		resume := jobs.Waits(ctx)
		early := time.NewTimer(time.Until(begin))
		defer early.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-early.C:
		}
		resume()
		return recount(ctx, pace.Wait)
	}}
}
