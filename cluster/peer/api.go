package peer

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// MaxBody is the most that a call carries in either direction, in bytes. Bulk has BlobProtocol.
const MaxBody = 1 << 20

const (
	callTimeout       = 10 * time.Second // for a call whose context has no deadline
	clientIdleTimeout = 60 * time.Second
	serverIdleTimeout = 2 * clientIdleTimeout // longer, so that a call rarely meets a connection that is being closed
	headerTimeout     = 10 * time.Second
	maxIdle           = 16 // connections kept to each node
	maxHeader         = 16 << 10
)

// Why a call has no answer. ErrNotSent and ErrNoAnswer are both also ErrUnreachable.
var (
	// ErrUnreachable: no answer came.
	ErrUnreachable = errors.New("node unreachable")
	// ErrNotSent: no byte of the call was sent, so the other node has not seen it.
	ErrNotSent = fmt.Errorf("%w, call not sent", ErrUnreachable)
	// ErrNoAnswer: the call was sent, at least in part; whether the other node acted on it is unknown.
	ErrNoAnswer = fmt.Errorf("%w, call sent but not answered", ErrUnreachable)
	// ErrTooLarge: the body of a call, or of its answer, is over MaxBody. A call that is too large was not sent.
	ErrTooLarge = errors.New("body too large")
)

// Codes of a RemoteError that this package makes itself.
const (
	CodeInternal    = "internal"     // the handler returned an error that is no RemoteError
	CodePanic       = "panic"        // the handler panicked; the stack is in the other node's log
	CodeUnknownPath = "unknown_path" // the other node has no such call, as it is of another version
	CodeTooLarge    = "too_large"    // the answer is over MaxBody
)

// RemoteError is an error that the other node's handler answered with. A handler returns one to choose the code.
type RemoteError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *RemoteError) Error() string { return e.Message + " (" + e.Code + ")" }

// Handler answers one kind of call. Its context ends when the caller has gone away or Run ends, and it must return
// then. An error that is (errors.As) a *RemoteError reaches the caller as it is, any other with CodeInternal.
// Calls run concurrently.
type Handler = func(ctx context.Context, from Caller, body []byte) ([]byte, error)

// api is both ends of the calls between nodes: HTTP/1.1 on connections of APIProtocol.
type api struct {
	peer      *Peer
	stream    *Stream
	transport *http.Transport

	mu       sync.Mutex
	handlers map[string]Handler

	busy sync.WaitGroup // server connections and handlers
}

func newAPI(p *Peer) *api {
	a := &api{peer: p, stream: p.Stream(APIProtocol), handlers: make(map[string]Handler)}
	a.transport = &http.Transport{
		DialContext:            a.dial,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        clientIdleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
	return a
}

// Handle registers what answers calls of a path, which begins with a slash. It is called before Run, and panics if
// the path is malformed or has a handler.
func (p *Peer) Handle(path string, h Handler) {
	p.api.mu.Lock()
	defer p.api.mu.Unlock()
	if !strings.HasPrefix(path, "/") || p.api.handlers[path] != nil {
		panic("peer: path " + strconv.Quote(path) + " is malformed or registered twice")
	}
	p.api.handlers[path] = h
}

type callerKey struct{}

// CallerFrom says who called, in the context of a handler.
func CallerFrom(ctx context.Context) (Caller, bool) {
	caller, ok := ctx.Value(callerKey{}).(Caller)
	return caller, ok
}

// serve answers calls until the stream is closed by Run's end, then waits for the handlers.
func (a *api) serve(ctx context.Context) {
	server := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       serverIdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          a.peer.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			caller, _ := CallerOf(c)
			return context.WithValue(ctx, callerKey{}, caller)
		},
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				a.busy.Add(1)
			case http.StateClosed, http.StateHijacked:
				a.busy.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
	if err := server.Serve(a.stream); !errors.Is(err, net.ErrClosed) {
		a.peer.logger.Error("peer API stopped", "error", err)
	}
	_ = server.Close() // its connections are closed by Run as well
	a.busy.Wait()
}

// ServeHTTP answers one call.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, ok := CallerFrom(r.Context())
	if !ok {
		panic(http.ErrAbortHandler) // unreachable: every connection of a stream has a caller
	}
	// Read to the end before anything else: only then does net/http watch the connection and end the context when the
	// caller hangs up, and an answer that comes before the end of a call may be lost to a reset.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		answerError(w, http.StatusRequestEntityTooLarge, &RemoteError{Code: CodeTooLarge, Message: err.Error()})
		return
	case err != nil:
		panic(http.ErrAbortHandler) // the caller has gone away
	}
	a.mu.Lock()
	handler := a.handlers[r.URL.Path]
	a.mu.Unlock()
	if handler == nil {
		answerError(w, http.StatusNotFound, &RemoteError{Code: CodeUnknownPath, Message: "no call " + strconv.Quote(r.URL.Path)})
		return
	}
	answer, err := a.run(r.Context(), r.URL.Path, handler, caller, body)
	var remote *RemoteError
	switch {
	case errors.As(err, &remote):
		answerError(w, http.StatusBadRequest, remote)
	case err != nil && r.Context().Err() != nil:
		// This node stops, so the error says nothing about the call; no answer tells the caller just that.
		panic(http.ErrAbortHandler)
	case err != nil:
		answerError(w, http.StatusInternalServerError, &RemoteError{Code: CodeInternal, Message: err.Error()})
	case len(answer) > MaxBody:
		answerError(w, http.StatusInternalServerError, &RemoteError{Code: CodeTooLarge, Message: ErrTooLarge.Error()})
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer) // a caller that has gone away gets no answer
	}
}

// run calls the handler and makes an error of a panic: one bad call must not end the process of a node.
func (a *api) run(ctx context.Context, path string, h Handler, from Caller, body []byte) (answer []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			a.peer.logger.Error("handler panicked", "path", path, "from", from.Node, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			err = &RemoteError{Code: CodePanic, Message: fmt.Sprint("panic: ", cause)}
		}
	}()
	return h(ctx, from, body)
}

func answerError(w http.ResponseWriter, status int, remote *RemoteError) {
	body, err := json.Marshal(RemoteError{Code: remote.Code, Message: remote.Message})
	if err != nil {
		panic(fmt.Sprintf("encode two strings: %v", err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that has gone away gets no answer
}

// Call sends body to the handler of path on another node and returns its answer. It is sent at most once: what can
// be repeated is known to the caller alone. It takes as long as ctx allows, 10 s if ctx has no deadline. Run need not
// have been called.
//
// Errors:
//   - *RemoteError if the other node's handler failed
//   - ErrNotSent if no connection came about, with a *RefusedError beside it if that is why
//   - ErrNoAnswer if the call was sent, but the connection or ctx ended before its answer was complete
//   - ErrTooLarge if body or answer is over MaxBody
//
// ErrNotSent and ErrNoAnswer are also ErrUnreachable, and ctx's error when that is why.
func (p *Peer) Call(ctx context.Context, to Target, path string, body []byte) ([]byte, error) {
	answer, err := p.api.call(ctx, to, path, body)
	if err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", path, to.Address, err)
	}
	return answer, nil
}

func (a *api) call(ctx context.Context, to Target, path string, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(body), MaxBody)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.peer.bounds.call)
		defer cancel()
	}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.host()+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	response, err := a.transport.RoundTrip(request)
	if err != nil {
		if !connected.Load() {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, causeOf(ctx, err))
		}
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, causeOf(ctx, err))
	}
	return readAnswer(ctx, response)
}

func readAnswer(ctx context.Context, response *http.Response) ([]byte, error) {
	defer response.Body.Close() //nolint:errcheck // nothing is written to it
	answer, err := io.ReadAll(io.LimitReader(response.Body, MaxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, causeOf(ctx, err))
	case len(answer) > MaxBody:
		return nil, fmt.Errorf("%w: answer over %d bytes", ErrTooLarge, MaxBody)
	case response.StatusCode == http.StatusOK:
		return answer, nil
	}
	remote := &RemoteError{}
	if err := json.Unmarshal(answer, remote); err != nil || remote.Code == "" {
		return nil, fmt.Errorf("%w: status %d without a code", ErrNoAnswer, response.StatusCode)
	}
	return nil, remote
}

// causeOf adds the end of ctx, where net/http shows the error of a connection that was closed for it.
func causeOf(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// host is the target as a host of a URL, so that http.Transport keeps connections apart by address and incarnation
// both: one that was dialed for one incarnation never carries a call for another.
func (t Target) host() string {
	return hex.EncodeToString([]byte(t.Address)) + "." + hex.EncodeToString([]byte(t.Incarnation))
}

func targetOf(host string) (Target, error) {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return Target{}, err
	}
	address, incarnation, _ := strings.Cut(name, ".")
	a, err := hex.DecodeString(address)
	if err != nil {
		return Target{}, err
	}
	i, err := hex.DecodeString(incarnation)
	if err != nil {
		return Target{}, err
	}
	return Target{Address: string(a), Incarnation: string(i)}, nil
}

func (a *api) dial(ctx context.Context, _, host string) (net.Conn, error) {
	to, err := targetOf(host)
	if err != nil {
		return nil, err
	}
	conn, err := a.peer.dial(ctx, APIProtocol, to)
	if err != nil {
		return nil, err // not conn: a nil *conn is no nil net.Conn
	}
	return conn, nil
}
