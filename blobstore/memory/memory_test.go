package memory_test

import (
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/memory"
	"github.com/seed-16d79997/zot/blobstore/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		c := memory.DefaultConfig()
		c.Incarnation = blobstore.Incarnation{1}
		s, err := memory.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Subject{
			Store: s,
			Damage: func(t *testing.T, id blobstore.CopyID, offset int64) {
				if err := s.Damage(id, offset); err != nil {
					t.Fatal(err)
				}
			},
			Full: func(_ *testing.T, full bool) {
				s.SetCapacity(map[bool]int64{true: 1, false: 1 << 30}[full])
			},
		}
	})
}
