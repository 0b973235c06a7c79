package blobstore_test

import (
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		total, free int64
		percent     int
		full        bool
	}{
		{1000, 1000, 0, false}, {1000, 151, 84, false}, {1000, 150, 85, true}, {1000, 0, 100, true}, {0, 0, 100, false}, {1 << 60, 1 << 59, 50, false},
	} {
		if u := (blobstore.Usage{Total: test.total, Free: test.free}); u.Percent() != test.percent || u.Full() != test.full {
			t.Errorf("%+v: %d %%, full %t", u, u.Percent(), u.Full())
		}
	}
}
