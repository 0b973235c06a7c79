package config_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/jobs"
)

// Each store has its own window, in zot's spellings.
func TestGCWindow(t *testing.T) {
	t.Parallel()
	at := func(hour, minute int) time.Duration {
		return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	}
	for text, want := range map[string]jobs.Window{
		"":               {},
		"23:30-05:00":    {From: at(23, 30), Until: at(5, 0)},
		" 1.05 - 08.00 ": {From: at(1, 5), Until: at(8, 0)},
		"00:00-23:59":    {Until: at(23, 59)},
		"22:00-00:00":    {From: at(22, 0)},
	} {
		c, notes, err := config.Parse("c.json", []byte(minimalStorage(`"gcTimeWindow": "`+text+`", "subPaths": {"/a": {"rootDirectory": "/a", "gc": true}, "/b": {"rootDirectory": "/b", "gc": true, "gcTimeWindow": "`+text+`"}}`)), "zot-0")
		if err != nil || len(notes) > 0 {
			t.Errorf("%q: %v %v", text, notes, err)
			continue
		}
		all := c.Storage.All()
		if all[0].GCWindow != want || all[1].GCWindow != (jobs.Window{}) || all[2].GCWindow != want {
			t.Errorf("%q: %v %v %v, want %v", text, all[0].GCWindow, all[1].GCWindow, all[2].GCWindow, want)
		}
	}
}
