package main

import (
	"os"
	"testing"
)

// asZot makes the test binary be zot, so that tests have processes to kill.
const asZot = "ZOT_TEST_AS_ZOT"

func TestMain(m *testing.M) {
	if os.Getenv(asZot) != "" {
		main()
	}
	os.Exit(m.Run())
}
