package oci_test

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

// updating reports whether golden files are to be rewritten.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }
