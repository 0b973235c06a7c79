package main

import (
	"context"
	"slices"
	"testing"
)

func TestSeeds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, _ := seeds{"zot-0.zot:7373", "dns:localhost:7374", "10.0.0.1:7375"}.find(ctx)
	for _, want := range []string{"zot-0.zot:7373", "127.0.0.1:7374", "10.0.0.1:7375"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %v", want, got)
		}
	}
	cancel() // no name server answers
	got, unknown := seeds{"dns:zot.invalid:1", "zot-1:1"}.find(ctx)
	if !slices.Equal(got, []string{"zot-1:1"}) || !slices.Equal(unknown, []string{"dns:zot.invalid:1"}) {
		t.Errorf("names that lead nowhere gave %v, and %v as unknown", got, unknown)
	}
}
