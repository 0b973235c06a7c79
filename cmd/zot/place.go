package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// placeOf is where the configuration has the copies of a store go.
func placeOf(s config.Store) fsm.Place {
	b := s.Bucket
	if b == nil {
		return fsm.Place{}
	}
	return fsm.Place{Bucket: b.Name, Endpoint: b.Host(), Root: strings.Trim(b.Root, "/")}
}

// places are the stores of a configuration by name, and where it has their copies go.
type places map[string]fsm.Place

func placesOf(c config.Config) places {
	p := places{}
	for _, s := range c.Storage.All() {
		p[s.Name] = placeOf(s.Store)
	}
	return p
}

var (
	// errNotPlaced is why a node does not use a store yet. It passes while there are no copies: they go where the next
	// leader's configuration has them.
	errNotPlaced = errors.New("the cluster does not have copies go where this node's configuration has them")
	// errElsewhere is why a node may not serve.
	errElsewhere = errors.New("the copies of this cluster are elsewhere")
	// errNoSubPath is why a node does not serve.
	errNoSubPath = errors.New("a store of this cluster is missing in this node's configuration")
)

// placed returns nil if the state has the copies of a store where this node's configuration has them,
// errElsewhere if it has some that are not there, and errNotPlaced if it has none yet. With two buckets for one state, what
// is in the one is missing in the other.
func placed(v fsm.View, store string, want fsm.Place) error {
	s, _ := v.Store(store)
	switch {
	case s.Place == want:
		return nil
	case v.HasCopies(store):
		return fmt.Errorf("%w: those of store %s are %s, and this node's configuration has them %s; make %s the same on all nodes",
			errElsewhere, store, s.Place, want, driverKey(store))
	}
	return fmt.Errorf("%w: those of store %s would go %s, and now they would go %s; make %s the same on all nodes, or wait for the leader to set it",
		errNotPlaced, store, want, s.Place, driverKey(store))
}

func driverKey(store string) string { return sectionOf(store) + ".storageDriver" }

// sectionOf is the section of a store in the configuration.
func sectionOf(store string) string {
	if store == fsm.DefaultStore {
		return "storage"
	}
	return "storage.subPaths." + store
}

// placed is placed for all stores.
func (p places) placed(v fsm.View) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(p)) {
		all = append(all, placed(v, name, p[name]))
	}
	return errors.Join(all...)
}

// complete returns errNoSubPath if the state has copies in a store that this node does not have.
func (p places) complete(v fsm.View) error {
	for _, s := range v.Stores() {
		if _, ours := p[s.Name]; !ours && v.HasCopies(s.Name) {
			return missing(s.Name)
		}
	}
	return nil
}

func missing(store string) error {
	return fmt.Errorf("%w: there are copies in store %s; add %s again, or have 'zot cluster move' take its repositories to another store "+
		"and garbage collection empty it before it is taken out of the configuration", errNoSubPath, store, sectionOf(store))
}

// placeEvery is how often a node looks whether its configuration is still that of the cluster.
const placeEvery = time.Second

// watchPlaces returns when ctx ends, or with errElsewhere: a node that joins learns only when it runs where the copies
// are. That a store is missing is said, and makes the node not ready: the others may have got it just now, and this one
// next.
func watchPlaces(ctx context.Context, state *fsm.State, want places, log hclog.Logger) error {
	t := time.NewTicker(placeEvery)
	defer t.Stop()
	said := ""
	for {
		var incomplete error
		err := state.View(func(v fsm.View) error {
			incomplete = want.complete(v)
			return want.placed(v)
		})
		if errors.Is(err, errElsewhere) {
			return err
		}
		if incomplete != nil && incomplete.Error() != said {
			said = incomplete.Error()
			log.Error("a store is missing in the configuration: this node is not ready", "error", incomplete)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}
