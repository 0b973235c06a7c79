package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// placeOf is where the configuration has copies go.
func placeOf(c config.Config) fsm.Place {
	b := c.Storage.Bucket
	if b == nil {
		return fsm.Place{}
	}
	return fsm.Place{Bucket: b.Name, Endpoint: hostOf(b.Endpoint), Root: strings.Trim(b.Root, "/")}
}

// hostOf is an endpoint without what may be said in several ways: how it is asked is each node's own matter.
func hostOf(endpoint string) string {
	if _, rest, ok := strings.Cut(endpoint, "://"); ok {
		endpoint = rest
	}
	return strings.ToLower(strings.TrimRight(endpoint, "/"))
}

var (
	// errNotPlaced is why a node does not use its store yet. It passes while there are no copies: they go where the next
	// leader's configuration has them.
	errNotPlaced = errors.New("the cluster does not have copies go where this node's configuration has them")
	// errElsewhere is why a node may not serve.
	errElsewhere = errors.New("the copies of this cluster are elsewhere")
)

// placed returns nil if the state has the copies of the default store where this node's configuration has them,
// errElsewhere if it has some that are not there, and errNotPlaced if it has none yet. With two buckets for one state, what
// is in the one is missing in the other.
func placed(v fsm.View, want fsm.Place) error {
	s, _ := v.Store(fsm.DefaultStore)
	switch {
	case s.Place == want:
		return nil
	case v.HasCopies(fsm.DefaultStore):
		return fmt.Errorf("%w: they are %s, and this node's configuration has them %s; make storage.storageDriver the same on all nodes",
			errElsewhere, s.Place, want)
	}
	return fmt.Errorf("%w: that is %s, and now they would go %s; make storage.storageDriver the same on all nodes, or wait for the leader to set it",
		errNotPlaced, want, s.Place)
}

// placeEvery is how often a node looks whether its configuration is still that of the cluster.
const placeEvery = time.Second

// watchPlace returns when ctx ends, or with errElsewhere: a node that joins learns only when it runs where the copies
// are.
func watchPlace(ctx context.Context, state *fsm.State, want fsm.Place) error {
	t := time.NewTicker(placeEvery)
	defer t.Stop()
	for {
		err := state.View(func(v fsm.View) error { return placed(v, want) })
		if errors.Is(err, errElsewhere) {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}
