package retention

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/fsm"
)

// remove removes what goes. The command judges again where it stands in the log: what somebody has come to need
// since the repository was read, at log index seen, stays, and is never gone meanwhile.
func (b *burst) remove(ctx context.Context, repository string, seen uint64, t Thing) (err error) {
	if t.Tag != "" {
		_, err = fsm.Do(ctx, b.Proposer, fsm.DeleteTag{
			Repository: repository, Tag: t.Tag, If: fsm.TagCondition{Is: t.Digest}, UnneededAt: seen, Subject: subjectOf(t.Tag),
		})
	} else {
		_, err = fsm.Do(ctx, b.Proposer, fsm.DeleteManifest{Repository: repository, Digest: t.Digest, UnneededAt: seen})
	}
	switch {
	case err == nil:
		b.count(t)
		b.say("tag removed", "manifest removed", repository, t)
	case errors.Is(err, fsm.ErrNeeded), errors.Is(err, fsm.ErrTagCondition), errors.Is(err, fsm.ErrManifestReferenced):
		b.walk.Needed++
	case errors.Is(err, fsm.ErrTagUnknown), errors.Is(err, fsm.ErrManifestUnknown): // somebody else has deleted it
	default:
		return fmt.Errorf("remove from %s what its policy does not keep: %w", repository, err)
	}
	return nil
}
