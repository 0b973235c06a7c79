package jobs

import (
	"context"
	"time"
)

// Window is a part of each day, in UTC, by the clock of this machine. One that ends before it begins goes over midnight;
// the zero value is all day.
type Window struct {
	From, Until time.Duration // since midnight
}

// look is how soon a job that waits for its window looks at the clock again, which may have been set.
const look = time.Minute

// Bound returns a job whose runs begin in the window alone. One that is due at another time waits for it, and one that has
// begun goes on when the window ends.
func (w Window) Bound(j Job) Job {
	do := j.Do
	if w == (Window{}) || do == nil {
		return j
	}
	j.Do = func(ctx context.Context) error {
		if err := w.wait(ctx); err != nil {
			return err
		}
		return do(ctx)
	}
	return j
}

// wait returns when it is within the window, or the context's error.
func (w Window) wait(ctx context.Context) error {
	for {
		left := w.opens(time.Now())
		if left == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		resume := Waits(ctx)
		pause(ctx, min(left, look))
		resume()
	}
}

// opens is in how long it is within the window; 0 if it is.
func (w Window) opens(now time.Time) time.Duration {
	const day = 24 * time.Hour
	now = now.UTC()
	at := now.Sub(time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC))
	since := (at - w.From + day) % day
	if since < (w.Until-w.From+day)%day {
		return 0
	}
	return day - since
}
