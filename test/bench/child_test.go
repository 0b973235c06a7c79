package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/sim"
)

// nodeConfig is what a node process is told, as JSON in childEnv.
type nodeConfig struct {
	Dir, Name, Address, Control string
	Seeds                       []string
}

// child is a node with a port of control: POST /set?value=N writes, GET /value reads linearizably, GET
// /leads says whether it is a ready leader.
func child() error {
	var c nodeConfig
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &c); err != nil {
		return err
	}
	d, err := cluster.OpenDirectory(c.Dir, fsm.SystemFiles())
	if err != nil {
		return err
	}
	state, err := fsm.Open(fsm.Config{Dir: c.Dir, Incarnation: d.Incarnation})
	if err != nil {
		return err
	}
	config := cluster.Config{
		Dir: c.Dir, Incarnation: d.Incarnation, Cluster: "bench", Node: c.Name, Version: "bench", Level: 1, Advertise: c.Address,
		Seeds: func(context.Context) ([]string, []string) { return c.Seeds, nil }, Expect: len(c.Seeds), Timing: cluster.DefaultTiming(),
		State: sim.Machine{State: state}, Roster: state, Files: fsm.SystemFiles(),
		FailStop: func(err error) { panic(err) }, // nothing may be waited for
	}
	var p *peer.Peer
	if len(c.Seeds) > 1 {
		p, err = peer.New(peer.Config{
			Cluster: "bench", Node: c.Name, Incarnation: d.Incarnation.String(), Listen: c.Address, Secrets: [][]byte{[]byte(sim.Secret)},
		})
		if err != nil {
			return err
		}
		config.Peer = p
	}
	node, err := cluster.New(config)
	if err != nil {
		return err
	}
	if err := d.Seal(); err != nil {
		return err
	}
	return serve(c, node, state, p)
}

func serve(c nodeConfig, node *cluster.Node, state *fsm.State, p *peer.Peer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", c.Control) //nolint:noctx // binding does not wait
	if err != nil {
		return err
	}
	server := &http.Server{Handler: control(node, state), ReadHeaderTimeout: 5 * time.Second}
	var parts sync.WaitGroup
	parts.Go(func() { _ = server.Serve(l) })
	peerCtx, stopPeer := context.WithCancel(context.Background())
	if p != nil {
		parts.Go(func() { _ = p.Run(peerCtx) })
	}
	err = node.Run(ctx)
	stopPeer()
	err = errors.Join(err, server.Close())
	parts.Wait()
	return errors.Join(err, state.Close())
}

func control(node *cluster.Node, state *fsm.State) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any, err error) {
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			value = err
		}
		_, _ = fmt.Fprint(w, value) // the caller sees what it got
	}
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) {
		value, err := strconv.Atoi(r.URL.Query().Get("value"))
		if err == nil {
			_, err = fsm.Do(r.Context(), node, fsm.SetStore{
				Name: "register", GCDelay: 1000*time.Hour + time.Duration(value), Replicas: 1, WriteAcks: 1,
			})
		}
		answer(w, "", err)
	})
	mux.HandleFunc("GET /value", func(w http.ResponseWriter, r *http.Request) {
		value := time.Duration(0)
		err := node.ReadIndex(r.Context())
		if err == nil {
			err = state.View(func(v fsm.View) error {
				s, _ := v.Store("register")
				value = s.GCDelay - 1000*time.Hour
				return nil
			})
		}
		answer(w, int(value), err)
	})
	mux.HandleFunc("GET /leads", func(w http.ResponseWriter, _ *http.Request) { answer(w, node.Leads(), nil) })
	return mux
}
