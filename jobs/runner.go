// Package jobs runs recurring work until its context ends. It does not know what the work does, nor
// why the context ends: a node stops, or its leadership is over.
//
// Start with Run. The jobs themselves are packages below this one, one each; they change the world
// through commands alone (invariant 10 of docs/design), and whoever starts them says how long they may.
package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// firstRetry is how soon work that failed is tried again; each further failure doubles it, up to the
// job's own interval.
const firstRetry = time.Second

// Job is work that is done again and again.
type Job struct {
	Name string

	// Every is the time from the end of one run to the beginning of the next. The first begins at once.
	Every time.Duration

	// Do does the work once. It returns soon after its context has ended; its error is then nobody's
	// concern, and otherwise has it done again before its time.
	Do func(ctx context.Context) error

	// Early, between two runs that were well, returns as soon as there is cause to begin the next one before its
	// time, and soon after its context has ended. nil: there never is.
	Early func(ctx context.Context)
}

// Run does all jobs, each beside the others and never twice at once. It returns nil when ctx has ended
// and all of them have returned.
//
// It fails, before it has begun any, if a job lacks its name, its interval or its work.
func Run(ctx context.Context, log hclog.Logger, all ...Job) error {
	for _, j := range all {
		if j.Name == "" || j.Every <= 0 || j.Do == nil {
			return fmt.Errorf("job %q, every %s: a job has a name, an interval and work", j.Name, j.Every)
		}
	}
	var running sync.WaitGroup
	for _, j := range all {
		running.Go(func() { j.repeat(ctx, log) })
	}
	<-ctx.Done()
	running.Wait()
	return nil
}

func (j Job) repeat(ctx context.Context, log hclog.Logger) {
	said, retry := "", time.Duration(0)
	for ctx.Err() == nil {
		err := j.Do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if said != "" {
				log.Info("job works again", "job", j.Name)
			}
			said, retry = "", 0
			j.rest(ctx)
		default:
			if said != err.Error() { // a line for each cause, not for each try
				said = err.Error()
				log.Warn("job failed", "job", j.Name, "error", err)
			}
			retry = min(max(2*retry, firstRetry), j.Every)
			pause(ctx, retry)
		}
	}
}

// rest waits for the time of the next run, or for a cause to begin it early.
func (j Job) rest(ctx context.Context) {
	if j.Early == nil {
		pause(ctx, j.Every)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, j.Every)
	defer cancel()
	j.Early(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
