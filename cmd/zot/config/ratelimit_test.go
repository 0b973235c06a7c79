package config_test

import (
	"reflect"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// What zot's own examples say of rates, origins and the log is understood, in whichever case.
func TestRatesOriginsAndLog(t *testing.T) {
	t.Parallel()
	c, notes, err := config.Parse("c.json", []byte(minimal(`, "http": {"allowOrigin": "https://UI.example/, https://other.example:8443",
		"Ratelimit": {"Rate": 10, "Methods": [{"Method": "Get", "Rate": 5}, {"method": "PATCH", "rate": "7"}]}}, "log": {"level": "Info", "output": "/o", "audit": "/a"}`)), "zot-0")
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, %v", notes, err)
	}
	if want := []config.RateLimit{{Rate: 10}, {"GET", 5}, {"PATCH", 7}}; !reflect.DeepEqual(c.HTTP.RateLimits, want) {
		t.Errorf("limits %v, want %v", c.HTTP.RateLimits, want)
	}
	if want := []string{"https://ui.example", "https://other.example:8443"}; !reflect.DeepEqual(c.HTTP.Origins, want) {
		t.Errorf("origins %q, want %q", c.HTTP.Origins, want)
	}
	if want := (config.Log{Level: "info", Output: "/o", Audit: "/a"}); c.Log != want {
		t.Errorf("log %+v, want %+v", c.Log, want)
	}
}
