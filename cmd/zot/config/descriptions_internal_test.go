package config

import (
	"strings"
	"testing"
)

// Each key that a file may have is described, and nothing else is. A key that is read without a line in descriptions
// fails here.
func TestEachKeyIsDescribed(t *testing.T) {
	t.Parallel()
	unused := descriptions()
	var look func(path string, s *schema)
	at := func(path string, s *schema) {
		if description(path) == "" {
			t.Errorf("%s is not described", path)
		}
		delete(unused, describedAs(path))
		look(path, s)
	}
	look = func(path string, s *schema) {
		for name, key := range s.Properties {
			at(strings.TrimPrefix(path+"."+name, "."), key)
		}
		if others, ok := s.Others.(*schema); ok && !others.saysNothing() {
			at(path+"."+sample, others)
		}
		for _, one := range s.AnyOf {
			if one.Items != nil {
				look(path, one.Items)
			}
		}
	}
	look("", recordFile())
	for path := range unused {
		t.Errorf("%s is described, and no key", path)
	}
}
