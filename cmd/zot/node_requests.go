package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/compaction"
)

const (
	noteEvery   = time.Second      // a node that checks itself says so often that it still does
	noteSilence = 20 * time.Second // and is given up when nothing came for so long
	noteTimeout = 30 * time.Second // for writing one line to whoever asked
	askTimeout  = 5 * time.Second  // for any other answer
)

// What a node says of itself.
type (
	nodeReport struct {
		Store *storeUse `json:"store"` // the default one; nil: it is not to be had
		// Stores are all of them, if there are others; those that are not to be had are left out.
		Stores map[string]storeUse `json:"stores,omitempty"`
		Files  []fileUse           `json:"files"` // of its state and log
		Jobs   []jobReport         `json:"jobs"`
	}
	storeUse struct {
		UsedBytes  int64 `json:"usedBytes"`
		TotalBytes int64 `json:"totalBytes"`
	}
	fileUse   = compaction.Use
	jobReport struct {
		Name        string    `json:"name"`
		Running     time.Time `json:"running,omitzero"` // since when it has been at work; left out while it waits
		Ended       time.Time `json:"ended,omitzero"`   // of its last run
		TookSeconds float64   `json:"tookSeconds,omitempty"`
		Error       string    `json:"error,omitempty"` // of its last run
	}
	nodeHash struct {
		Hash   string `json:"hash"` // of its state at an agreed check; "" if it keeps none, or is fenced
		Fenced string `json:"fenced,omitempty"`
	}
)

// askedNode is what other nodes, and the operator's commands, ask a node about itself.
type askedNode struct {
	verification
	lifetime
	board *jobs.Board
	files *compaction.Files
}

func newAskedNode(h *home, state *fsm.State, r *registry, node *cluster.Node) *askedNode {
	return &askedNode{
		verification: verification{
			self: h.Incarnation, state: state, stateFile: filepath.Join(h.path, fsm.FileName), whole: wholeState,
			stores: checkedStores(r.stores), round: node.ReadIndex, pace: r.pace.Wait, began: time.Now(),
		},
		board: &jobs.Board{},
		files: filesOf(state, node, r.pace.Wait),
	}
}

// report says how full the node's stores are, and how its jobs do.
func (n *askedNode) report(ctx context.Context) nodeReport {
	r := nodeReport{Files: n.files.Use(), Jobs: []jobReport{}}
	for _, s := range n.stores {
		u, err := s.store.Usage(ctx)
		if err != nil {
			continue
		}
		use := storeUse{UsedBytes: u.Total - u.Free, TotalBytes: u.Total}
		if s.name == fsm.DefaultStore {
			r.Store = &use
		}
		if len(n.stores) > 1 {
			if r.Stores == nil {
				r.Stores = map[string]storeUse{}
			}
			r.Stores[s.name] = use
		}
	}
	for _, j := range n.board.Jobs() {
		r.Jobs = append(r.Jobs, jobReport{j.Name, j.Running, j.Ended, j.Took.Seconds(), j.Error})
	}
	return r
}

// errNoHash is for a check that this node has not come to, or has forgotten.
var errNoHash = errors.New("the node keeps no state hash of that check")

// hashAt is the hash of this node's state at the check with a log index.
func (n *askedNode) hashAt(ctx context.Context, index uint64) (nodeHash, error) {
	if err := n.round(ctx); err != nil && ctx.Err() != nil {
		return nodeHash{}, err
	}
	if why := n.state.Fenced(); why != "" {
		return nodeHash{Fenced: why}, nil
	}
	sum, ok := n.state.Hash(index)
	if !ok {
		return nodeHash{}, errNoHash
	}
	return nodeHash{Hash: hex.EncodeToString(sum)}, nil
}

// checked checks this node and says how far its state is with each note. Between two notes is a second at most.
func (n *askedNode) checked(ctx context.Context, wish checkWish, each func(checkNote)) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	var mu sync.Mutex
	say := func(note checkNote) {
		mu.Lock()
		defer mu.Unlock()
		note.Applied = n.state.Position().Index // read in the order in which it is said
		each(note)
	}
	defer beating(func() { say(checkNote{}) })()
	return n.check(ctx, wish, say)
}

// beating calls say every second, beside the caller, until over is called and has returned.
func beating(say func()) (over func()) {
	end := make(chan struct{})
	var beats sync.WaitGroup
	beats.Go(func() {
		beat := time.NewTicker(noteEvery)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				say()
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		beats.Wait()
	}
}

// handler answers other nodes: everything below /node/.
func (n *askedNode) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /node/report", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
		defer cancel()
		answerJSON(w, http.StatusOK, n.report(ctx))
	})
	mux.HandleFunc("GET /node/hash", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
		defer cancel()
		index, err := strconv.ParseUint(r.URL.Query().Get("at"), 10, 64)
		if err != nil {
			answerJSON(w, http.StatusBadRequest, adminError{errBadRequest.Error()})
			return
		}
		h, err := n.hashAt(ctx, index)
		if err != nil && !errors.Is(err, errNoHash) { // it has none: so it says
			answerJSON(w, http.StatusConflict, adminError{err.Error()})
			return
		}
		answerJSON(w, http.StatusOK, h)
	})
	mux.HandleFunc("GET /node/check", func(w http.ResponseWriter, r *http.Request) {
		lines := newLines(w)
		err := n.checked(r.Context(), checkWish{Hash: r.URL.Query().Get("hash") == "true"}, func(note checkNote) { lines.write(note) })
		if err != nil {
			lines.write(adminError{err.Error()})
		}
	})
	mux.HandleFunc("GET /node/compact", func(w http.ResponseWriter, r *http.Request) {
		lines := newLines(w)
		err := n.compacted(r.Context(), func(note compactNote) { lines.write(note) })
		if err != nil {
			lines.write(adminError{err.Error()})
		}
	})
	return mux
}

// lines is an answer that comes bit by bit: a JSON value a line.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newLines(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	return lines{w, http.NewResponseController(w)}
}

// write writes a line at once. Whoever asked and is gone ends the request's context.
func (l lines) write(v any) {
	_ = l.control.SetWriteDeadline(time.Now().Add(noteTimeout)) // some connections of tests have none
	if json.NewEncoder(l.w).Encode(v) == nil {
		_ = l.control.Flush() // as above
	}
}

// askNodes asks nodes about themselves. A node that is none any more, or does not answer, is an error.
type askNodes interface {
	report(ctx context.Context, who entry.Incarnation) (nodeReport, error)
	hashAt(ctx context.Context, who entry.Incarnation, index uint64) (nodeHash, error)
	// check has a node check itself, and calls each with what it says. Nil: it came to its end.
	check(ctx context.Context, who entry.Incarnation, wish checkWish, each func(checkNote)) error
}

// readNote reads one line of a node's answer that comes bit by bit.
func readNote[T any](line json.RawMessage) (note T, err error) {
	var refused adminError
	if err := json.Unmarshal(line, &refused); err == nil && refused.Error != "" {
		return note, errors.New(refused.Error)
	}
	return note, json.Unmarshal(line, &note)
}

// allNodes are all, as one of them asks them, itself too.
type allNodes struct {
	own    *askedNode
	others *others
}

var _ askNodes = allNodes{}

func (a allNodes) report(ctx context.Context, who entry.Incarnation) (r nodeReport, err error) {
	if who == a.own.self {
		return a.own.report(ctx), nil
	}
	return r, a.get(ctx, who, "/node/report", nil, &r)
}

func (a allNodes) hashAt(ctx context.Context, who entry.Incarnation, index uint64) (h nodeHash, err error) {
	if who == a.own.self {
		return a.own.hashAt(ctx, index)
	}
	err = a.get(ctx, who, "/node/hash", url.Values{"at": {strconv.FormatUint(index, 10)}}, &h)
	if err == nil && h == (nodeHash{}) {
		err = errNoHash
	}
	return h, err
}

func (a allNodes) check(ctx context.Context, who entry.Incarnation, wish checkWish, each func(checkNote)) error {
	if who == a.own.self {
		return a.own.checked(ctx, wish, each)
	}
	return a.listen(ctx, who, "/node/check", url.Values{"hash": {strconv.FormatBool(wish.Hash)}}, func(line json.RawMessage) (last bool, err error) {
		note, err := readNote[checkNote](line)
		if err != nil {
			return true, err
		}
		each(note)
		return note.Result != nil, nil
	})
}

// listen is stream for what takes long: who falls silent meanwhile is given up.
func (a allNodes) listen(ctx context.Context, who entry.Incarnation, path string, query url.Values, each func(line json.RawMessage) (last bool, err error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(noteSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	return a.stream(ctx, who, path, query, func(line json.RawMessage) (last bool, err error) {
		silence.Reset(noteSilence)
		return each(line)
	})
}

// get asks a node for one JSON value.
func (a allNodes) get(ctx context.Context, who entry.Incarnation, path string, query url.Values, v any) error {
	return a.stream(ctx, who, path, query, func(line json.RawMessage) (bool, error) { return true, json.Unmarshal(line, v) })
}

// stream asks a node, and calls each with the values of its answer until one is the last.
func (a allNodes) stream(ctx context.Context, who entry.Incarnation, path string, query url.Values, each func(line json.RawMessage) (last bool, err error)) error {
	u := url.URL{Scheme: "http", Host: who.String(), Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return err
	}
	answer, err := a.others.transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	values := json.NewDecoder(answer.Body)
	if answer.StatusCode != http.StatusOK {
		var refused adminError
		if err := values.Decode(&refused); err != nil || refused.Error == "" {
			return fmt.Errorf("it answers %s, as another version might", answer.Status)
		}
		return errors.New(refused.Error)
	}
	for {
		var line json.RawMessage
		if err := values.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("its answer breaks off: %w", err)
		}
		if last, err := each(line); last || err != nil {
			return err
		}
	}
}
