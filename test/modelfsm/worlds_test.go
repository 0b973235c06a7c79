package modelfsm_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/model"
)

// world is an unbounded world of the model, in the product's numbers.
type world struct {
	model.Config
	gcDelay time.Duration
	tick    time.Duration // of the model, in state time
	large   int           // the manifest whose body is its last blob; -1: none
	steps   int           // of one run
}

func worlds() []world {
	coarse := world{gcDelay: 16 * time.Second, tick: 4 * time.Second, large: -1, steps: 400}
	coarse.Config = unbounded()
	coarse.K, coarse.S, coarse.L, coarse.G, coarse.Early = 1, 3, 4, 1, true

	five := coarse
	five.Name, five.N, five.Slots, five.D, five.Repos, five.W, five.R, five.CW = "five", 5, 6, 3, 2, 2, 2, 2
	five.Mans, five.large = []model.Manifest{{Repo: 0, Refs: 1}, {Repo: 0, Refs: 3}, {Repo: 1, Refs: 5}, {Repo: 1, Refs: 6}}, 3

	// The default lease: the window is 10 minutes, a tick of the product one.
	three := coarse
	three.Name, three.N, three.Slots, three.D, three.Repos, three.W, three.R, three.CW = "replicas-three", 5, 6, 2, 1, 2, 3, 3
	three.gcDelay, three.tick, three.L, three.G = time.Hour, 10*time.Minute, 6, 2
	three.Mans = []model.Manifest{{Repo: 0, Refs: 1}, {Repo: 0, Refs: 3}}

	// One copy is enough, so what nobody has looked at is soon all there is.
	one := coarse
	one.Name, one.N, one.Slots, one.D, one.Repos, one.W, one.R, one.CW = "one-copy", 3, 4, 2, 1, 1, 2, 1
	one.Mans = []model.Manifest{{Repo: 0, Refs: 1}, {Repo: 0, Refs: 2}}

	// A tick of the model is one of the product, and the leader may be one ahead of its newest entry.
	idle := coarse
	idle.Name, idle.N, idle.Slots, idle.D, idle.Repos, idle.W, idle.R, idle.CW = "idle", 3, 4, 2, 2, 2, 2, 2
	idle.tick, idle.K, idle.S, idle.L, idle.G, idle.Idle, idle.steps = time.Second, 4, 12, 16, 7, true, 1000
	idle.Mans = []model.Manifest{{Repo: 0, Refs: 1}, {Repo: 0, Refs: 3}, {Repo: 1, Refs: 1}}

	bucket := five
	bucket.Name, bucket.S3, bucket.Slots, bucket.W, bucket.R, bucket.CW = "bucket", true, 5, 1, 1, 1
	return []world{five, three, one, idle, bucket}
}

// unbounded is a world in which nothing is used up.
func unbounded() model.Config {
	c := model.Config{Unbounded: true, Refusals: true, Replace: true}
	c.Uploads, c.Repairs, c.Heads, c.Mounts, c.Puts, c.Dels, c.DelBlobs, c.Dups = 1, 1, 1, 1, 1, 1, 1, 1
	c.Losses, c.Rots, c.Offs, c.Retires, c.Admits = 1, 1, 1, 1, 1
	return c
}

// weight says how often a kind of step is drawn. Faults are rare, and what must be done within a window or before another
// fault is not, or it would mostly come to nothing.
func weight(s model.Step) int {
	if s.Refused && s.Op != model.OpDropUnlessSole { // which can be tried seldom enough
		return 1
	}
	switch s.Op {
	case model.OpLoss, model.OpRot, model.OpRetire, model.OpUnmount, model.OpNewLeader, model.OpDeleteBlob, model.OpGiveUpClaim:
		return 1
	case model.OpHead, model.OpHeadRenews, model.OpMountBlob, model.OpRepeat, model.OpAdmit, model.OpMark, model.OpPut, model.OpDeleteManifest:
		return 4
	case model.OpTick, model.OpClear:
		return 5
	case model.OpBlobStored, model.OpWrite, model.OpHash, model.OpVouch, model.OpDropCopies, model.OpAddCopy:
		return 30
	}
	return 10
}

// everyStep fails if a step of the model was never taken that can be in this world.
func everyStep(t *testing.T, w world, seen figures) {
	t.Helper()
	for _, op := range []string{
		model.OpApply, model.OpUpload, model.OpWrite, model.OpBlobStored, model.OpRepeat, model.OpGiveUpClaim,
		model.OpHead, model.OpHeadRenews, model.OpDeleteBlob, model.OpPut, model.OpDeleteManifest,
		model.OpCollect, model.OpRemove, model.OpMark, model.OpConfirm,
	} {
		seen.want(t, op)
	}
	if w.Repos > 1 {
		seen.want(t, model.OpMountBlob)
	}
	if w.Idle {
		seen.want(t, model.OpLead, model.OpIdleEntry, model.OpNewLeader)
	} else {
		seen.want(t, model.OpTick)
	}
	if w.S3 {
		return
	}
	seen.want(t, model.OpAdmit, model.OpLoss, model.OpUnmount, model.OpMount, model.OpRetire, model.OpDrop,
		model.OpDropCopies, model.OpRetireLost, model.OpDropLost, model.OpDropLostMember, model.OpDropUnlessSole, model.OpClear,
		model.OpRepair, model.OpAddCopy, model.OpRot, model.OpGiveUp, model.OpHash, model.OpVouch)
}

func (f figures) want(t *testing.T, ops ...string) {
	t.Helper()
	for _, op := range ops {
		if f[op] == 0 {
			t.Errorf("never: %s", op)
		}
	}
}
