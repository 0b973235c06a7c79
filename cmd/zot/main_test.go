package main

import (
	"os"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// asZot makes the test binary be zot, so that tests have processes to kill.
const asZot = "ZOT_TEST_AS_ZOT"

// asZotScrubbing is asZot with another interval of scrub, which a file cannot have so short.
const asZotScrubbing = "ZOT_TEST_SCRUB"

func TestMain(m *testing.M) {
	if every, err := time.ParseDuration(os.Getenv(asZotScrubbing)); err == nil {
		adjust := func(c *config.Config) { c.Extensions.Scrub.Interval = every }
		os.Exit(execute(os.Args[1:], surroundings{stdout: os.Stdout, stderr: os.Stderr, exit: os.Exit, version: version, adjust: adjust}))
	}
	if os.Getenv(asZot) != "" {
		main()
	}
	os.Exit(m.Run())
}
