package fsm

import "github.com/seed-16d79997/zot/cluster/entry"

// Keys of the local bucket.
var (
	keyPosition    = []byte("position")    //nolint:gochecknoglobals // a constant
	keyIncarnation = []byte("incarnation") //nolint:gochecknoglobals // a constant
	keyFenced      = []byte("fenced")      //nolint:gochecknoglobals // a constant
	notedPrefix    = []byte("noted/")      //nolint:gochecknoglobals // a constant
)

// Keys of the meta bucket, all of the replicated state.
var (
	keyLevel     = []byte("level")     //nolint:gochecknoglobals // a constant
	keyRestore   = []byte("restore")   //nolint:gochecknoglobals // a constant
	keyRestoring = []byte("restoring") //nolint:gochecknoglobals // a constant
	keyCluster   = []byte("cluster")   //nolint:gochecknoglobals // a constant
	keyStated    = []byte("stated")    //nolint:gochecknoglobals // a constant
)

// sumKey is where the running sum of bucket b lies.
func sumKey(b bucket) []byte { return []byte("sum/" + b) }

// runningSum is the sum of bucket b as it was kept with each change.
func (r reader) runningSum(b bucket) sum {
	raw := r.get(local, sumKey(b))
	if raw == nil {
		return sum{}
	}
	return sumFrom(raw)
}

// position is the record of how far this file has come, as read in its transaction.
func (r reader) position() entry.Position {
	p, _ := load[entry.Position](r, local, keyPosition)
	return p
}

func (t *tx) savePosition(p entry.Position) { t.save(local, keyPosition, p) }
