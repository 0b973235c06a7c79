package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// lackingPage is how many blobs without a copy are looked up in one view.
const lackingPage = 500

// snapshots is the part of the node from which a backup is taken, and into which one is restored. It hands out and takes
// in what the client asks for; all else, the bytes too, goes as any client's does.
type snapshots struct {
	state *fsm.State
	node  ordering
	log   hclog.Logger
}

// What a backup asks and is answered, as JSON.
type (
	// restoreStatus is how far the restore of a backup is.
	restoreStatus struct {
		Restoring *fsm.Restoring `json:"restoring,omitempty"` // one is under way
		Restored  *fsm.Restore   `json:"restored,omitempty"`  // the newest that has ended
	}
	lackingRequest struct {
		Store string `json:"store"` // go on behind this blob; "" is the beginning
		After []byte `json:"after"`
	}
	lackingAnswer struct {
		Blobs []lackingBlob  `json:"blobs"`
		Next  lackingRequest `json:"next"`
		More  bool           `json:"more"`
	}
	// lackingBlob is a blob that has no good copy, and in which repository a manifest needs it.
	lackingBlob struct {
		Digest     string `json:"digest"`
		Size       int64  `json:"size"`
		Repository string `json:"repository"`
	}
	proposed struct {
		Outcome entry.Outcome `json:"outcome"`
		Bytes   []byte        `json:"bytes"`
	}
)

// handler answers below /snapshot/.
func (s snapshots) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /snapshot/state", s.stream)
	mux.HandleFunc("POST /snapshot/propose", s.propose)
	mux.HandleFunc("GET /snapshot/restore", answering(func(ctx context.Context, _ *json.Decoder) (any, error) { return s.status(ctx) }))
	mux.HandleFunc("POST /snapshot/lacking", answering(func(ctx context.Context, body *json.Decoder) (any, error) {
		var r lackingRequest
		if err := body.Decode(&r); err != nil {
			return nil, errBadRequest
		}
		return s.lacking(ctx, r)
	}))
	return mux
}

// stream answers with the whole state: one that holds all that was acknowledged before the request.
func (s snapshots) stream(w http.ResponseWriter, r *http.Request) {
	snapshot, err := s.open(r.Context())
	if err != nil {
		answerJSON(w, adminStatus(err), adminError{explain(err)})
		return
	}
	defer func() {
		if err := snapshot.Close(); err != nil {
			s.log.Warn("a snapshot was not closed", "error", err)
		}
	}()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(snapshot.Size(), 10))
	if _, err := snapshot.WriteTo(w); err != nil {
		s.log.Warn("a snapshot was not sent whole", "error", err)
		panic(http.ErrAbortHandler) // or what was sent would seem to be all
	}
}

func (s snapshots) open(ctx context.Context) (*fsm.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if err := s.node.ReadIndex(ctx); err != nil {
		return nil, err
	}
	return s.state.OpenSnapshot()
}

// propose proposes a command of a restore, and nothing else.
func (s snapshots) propose(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, entry.MaxPayload))
	if err != nil || !fsm.IsRestore(payload) {
		answerJSON(w, http.StatusBadRequest, adminError{errBadRequest.Error()})
		return
	}
	result, err := s.node.Propose(ctx, payload)
	if err != nil {
		answerJSON(w, adminStatus(err), adminError{explain(err)})
		return
	}
	answerJSON(w, http.StatusOK, proposed{result.Outcome, result.Bytes})
}

// status is how far a restore is, by the newest state.
func (s snapshots) status(ctx context.Context) (now restoreStatus, err error) {
	if err := s.node.ReadIndex(ctx); err != nil {
		return now, err
	}
	return now, s.state.View(func(v fsm.View) error {
		if under, is := v.Restoring(); is {
			now.Restoring = &under
		}
		if last, is := v.Restored(); is {
			now.Restored = &last
		}
		return nil
	})
}

// lacking lists the blobs, store by store, that manifests need and that have no good copy.
func (s snapshots) lacking(ctx context.Context, r lackingRequest) (a lackingAnswer, err error) {
	if err := s.node.ReadIndex(ctx); err != nil {
		return a, err
	}
	return a, s.state.View(func(v fsm.View) error {
		for _, store := range v.Stores() {
			if store.Name < r.Store {
				continue
			}
			after := fsm.Digest("")
			if store.Name == r.Store {
				after = fsm.Digest(r.After)
			}
			found, last := v.Lacking(store.Name, after, lackingPage)
			if last == "" {
				continue
			}
			for _, b := range found {
				a.Blobs = append(a.Blobs, lackingBlob{b.Digest.String(), b.Size, b.Repository})
			}
			a.Next, a.More = lackingRequest{store.Name, []byte(last)}, true
			return nil
		}
		return nil
	})
}
