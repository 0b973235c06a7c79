package peer

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestNamesAreRemembered: a name is asked for once in a while, and one that cannot be found keeps its old address.
func TestNamesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, failing := 0, true
		n := &namedPackets{known: make(map[string]resolved), lookup: func(string) (net.Addr, error) {
			asked++
			if failing {
				return nil, errors.New("no such host")
			}
			return &net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(asked)), Port: 7373}, nil
		}}
		for i, step := range []struct {
			after   time.Duration
			failing bool
			want    string // "" for an error
			asked   int
		}{
			{0, true, "", 1},
			{resolveAge, false, "", 1}, // still remembered
			{1, false, "10.0.0.2:7373", 2},
			{resolveAge, false, "10.0.0.2:7373", 2},
			{1, true, "10.0.0.2:7373", 3}, // the old one
			{resolveAge + 1, false, "10.0.0.4:7373", 4},
		} {
			time.Sleep(step.after)
			failing = step.failing
			got, err := n.resolve("zot-0.zot:7373")
			if (err != nil) != (step.want == "") || err == nil && got.String() != step.want || asked != step.asked {
				t.Errorf("step %d: %v, %v, asked %d times; want %+v", i, got, err, asked, step)
			}
		}
	})
}
