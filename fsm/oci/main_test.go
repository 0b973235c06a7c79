package oci_test

import (
	"flag"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite the golden files")
	flag.Parse()
	m.Run() // what it returns becomes the exit code
}

// updating reports whether golden files are to be rewritten.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }
