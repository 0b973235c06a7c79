package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
)

// adminSocket is where the node listens to its operator: whoever may open it is one.
const adminSocket = "admin.sock"

const (
	adminGrace   = time.Second
	adminTimeout = 30 * time.Second // for one request
	maxSocket    = 107              // bytes of a socket's path that the system takes
	maxAdminBody = 128 << 10        // bytes; the certificates that an import brings at once are the most
)

// adminListener is a Unix socket that takes its name away when it is closed.
type adminListener struct {
	*net.UnixListener
	path string
}

// listenAdmin opens the socket in the root directory. The caller holds the node's lock, so a socket that
// is there already is nobody's.
func listenAdmin(root string) (*adminListener, error) {
	path := filepath.Join(root, adminSocket)
	draft := filepath.Join(root, "node", adminSocket) // only the owner may look in there
	if len(draft) > maxSocket {
		return nil, fmt.Errorf("the socket %s has a path of %d bytes, at most %d are possible: choose a shorter storage.rootDirectory", draft, len(draft), maxSocket)
	}
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the operator's socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	// It gets its name only when nobody else may open it any more.
	if err := errors.Join(os.Chmod(draft, 0o600), os.Rename(draft, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &adminListener{l, path}, nil
}

// Close ends the listening. What is left of it at a crash is replaced at the next start.
func (l *adminListener) Close() error {
	err := l.UnixListener.Close()
	if err == nil {
		err = os.Remove(l.path)
	}
	return err
}

// operated is the node as its operator sees it.
type operated interface {
	Waiting() string
	Status(ctx context.Context) (cluster.Status, error)
	Remove(ctx context.Context, name string, lost bool) error
	MoveLeadership(ctx context.Context, name string) error
}

// inviting is a node that can take new machines in.
type inviting interface {
	Invite() (invited, error)
}

// What the operator asks and is answered, as JSON.
type (
	clusterStatus struct {
		cluster.Status
		Members []memberStatus `json:"members"` // in the place of the status's own
		Blobs   blobHealth     `json:"blobs"`
		Waiting string         `json:"waiting,omitempty"` // why the asked node is not part of the cluster yet

		Emptying []emptying `json:"emptying,omitempty"` // nodes whose copies go to others
		Moving   []moving   `json:"moving,omitempty"`   // repositories that go to another store
		Usage    usage      `json:"usage"`
	}
	removeRequest struct {
		Node string `json:"node"`
		Lost bool   `json:"lost"`
	}
	transferRequest struct {
		Node string `json:"node"` // "" for whoever is furthest along
	}
	invited struct {
		Token   string    `json:"token"`
		Address string    `json:"address"` // of the node to show it to
		Expires time.Time `json:"expires"`
	}
	adminError struct {
		Error string `json:"error"`
	}
)

// serveAdmin answers the operator until ctx ends. He may push and pull too, without being asked who he is.
func serveAdmin(ctx context.Context, l net.Listener, node operated, state *fsm.State, own stores, all surveyed, registry http.Handler, log hclog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("/", adminHandler(node, all))
	if o, ok := node.(ordering); ok {
		mux.Handle("/registry/", contents{state, o}.handler())
		mux.Handle("POST /cluster/drain", drains{state, o}.handler())
		mux.Handle("POST /cluster/read-only", readOnlyHandler(o))
		mux.Handle("/snapshot/", snapshots{state, o, log.Named("admin")}.handler())
		mux.Handle("POST /cluster/move", moves{state, o, own}.handler())
	}
	mux.Handle("/import/", registry)
	server := newServer(below(registry, mux), log.Named("admin"))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // waited for below
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return shutDown(context.WithoutCancel(ctx), server, served, adminGrace) // ctx has ended
	}
}

func adminHandler(node operated, all surveyed) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do operation) { mux.HandleFunc(pattern, answering(do)) }
	handle("GET /cluster/status", func(ctx context.Context, _ *json.Decoder) (any, error) {
		reports := make(chan map[entry.Incarnation]nodeReport, 1)
		go func() { reports <- all.Reports(ctx) }() // waited for below
		s, err := node.Status(ctx)
		said := <-reports
		if err != nil {
			return nil, err
		}
		b, err := all.Blobs()
		if err != nil {
			return nil, err
		}
		e, err := all.Emptying()
		if err != nil {
			return nil, err
		}
		m, err := all.Moving()
		if err != nil {
			return nil, err
		}
		u, err := all.Usage()
		if err != nil {
			return nil, err
		}
		held, err := all.Held()
		return clusterStatus{s, withReports(s.Members, said, held), b, node.Waiting(), e, m, u}, err
	})
	mux.HandleFunc("POST /cluster/verify", func(w http.ResponseWriter, r *http.Request) {
		answerAudit(r.Context(), w, http.MaxBytesReader(w, r.Body, maxAdminBody), all)
	})
	handle("POST /cluster/remove", func(ctx context.Context, body *json.Decoder) (any, error) {
		var r removeRequest
		if err := body.Decode(&r); err != nil || r.Node == "" {
			return nil, errBadRequest
		}
		return struct{}{}, node.Remove(ctx, r.Node, r.Lost)
	})
	handle("POST /cluster/transfer", func(ctx context.Context, body *json.Decoder) (any, error) {
		var r transferRequest
		if err := body.Decode(&r); err != nil {
			return nil, errBadRequest
		}
		return struct{}{}, node.MoveLeadership(ctx, r.Node)
	})
	if host, ok := node.(inviting); ok {
		handle("POST /cluster/token", func(context.Context, *json.Decoder) (any, error) { return host.Invite() })
	}
	return mux
}

// operation is what is done for one request of the operator.
type operation func(ctx context.Context, body *json.Decoder) (any, error)

// answering answers with what an operation returns.
func answering(do operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
		defer cancel()
		answer, err := do(ctx, json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody)))
		if err != nil {
			answerJSON(w, adminStatus(err), adminError{explain(err)})
			return
		}
		answerJSON(w, http.StatusOK, answer)
	}
}

// errBadRequest is for a body that is not what the path takes.
var errBadRequest = errors.New("the body is not what this request takes")

// adminStatus tells what may be tried again from what is refused.
func adminStatus(err error) int {
	_, refused := errors.AsType[*peer.RemoteError](err)
	_, final := errors.AsType[refusal](err)
	switch {
	case errors.Is(err, errBadRequest):
		return http.StatusBadRequest
	case refused, final:
		return http.StatusConflict
	default:
		return http.StatusServiceUnavailable
	}
}

// explain is an error in the words of whoever said no, without the way that it came.
func explain(err error) string {
	if remote, ok := errors.AsType[*peer.RemoteError](err); ok {
		return remote.Message
	}
	return err.Error()
}
