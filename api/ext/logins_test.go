package ext_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// An administrator ends what somebody has, and nothing of anybody else's.
func TestLoginsAreEnded(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	for n, owner := range []string{"ann", "ann", "anna", "root"} {
		id := fsm.KeyID{byte(n)}
		if _, err := fsm.Do(t.Context(), w, fsm.CreateAPIKey{Hash: fsm.HashAPIKey(fmt.Sprint("key ", n)), ID: id, Owner: owner}); err != nil {
			t.Fatal(err)
		}
		if _, err := fsm.Do(t.Context(), w, fsm.PutSession{Cookie: fsm.HashSecret(fmt.Sprint("cookie ", n)), Subject: owner, Expires: time.Now().Add(time.Hour).UnixMilli()}); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (all []string) {
		err := w.state.View(func(v fsm.View) error {
			for n := range 4 {
				if k, there := v.APIKey(fsm.HashAPIKey(fmt.Sprint("key ", n))); there {
					all = append(all, "key of "+k.Owner)
				}
				if s, there := v.Session(fsm.HashSecret(fmt.Sprint("cookie ", n)), time.Now()); there {
					all = append(all, "session of "+s.Subject)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	end := func(name, query string) call {
		return call{method: "DELETE", path: "/zot/auth/logins" + query, name: name}
	}
	for what, c := range map[string]struct {
		call   call
		status int
	}{
		"nobody":           {end("", "?user=ann"), 401},
		"one's own":        {end("ann", "?user=ann"), 403},
		"no administrator": {end("bob", "?user=ann"), 403},
		"nobody's":         {end("root", ""), 400},
		"no name":          {end("root", "?user="), 400},
		"a name of two":    {end("root", "?user=a%00b"), 400},
		"a long name":      {end("root", "?user="+strings.Repeat("a", 513)), 400},
		"another method":   {call{method: "GET", path: "/zot/auth/logins?user=ann", name: "root"}, 405},
		"somebody unknown": {end("root", "?user=eve"), 200},
	} {
		if got := w.do(c.call); got.Code != c.status {
			t.Errorf("%s: %d %s, want %d", what, got.Code, got.Body, c.status)
		}
	}
	if n := len(left()); n != 8 {
		t.Fatalf("%d are left", n)
	}
	for _, want := range []string{`{"sessions":2,"apiKeys":2}`, `{"sessions":0,"apiKeys":0}`} {
		if got := w.do(end("root", "?user=ann")); got.Code != http.StatusOK || got.Body.String() != want {
			t.Errorf("%d %s, want %s", got.Code, got.Body, want)
		}
	}
	if got, want := fmt.Sprint(left()), "[key of anna session of anna key of root session of root]"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	w.refusing = errors.New("no leader")
	if got := w.do(end("root", "?user=anna")); got.Code != http.StatusServiceUnavailable {
		t.Errorf("without a leader: %d %s", got.Code, got.Body)
	}
}

// Whose logins are ended cannot go on with a request that they have begun before, for longer than a moment.
func TestSlowRequestsEnd(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	synctest.Test(t, func(t *testing.T) {
		body, rest := io.Pipe()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, ours, body)
		r.SetBasicAuth("ann", "of ann")
		answer, done := httptest.NewRecorder(), make(chan struct{})
		go func() {
			defer close(done)
			w.ServeHTTP(answer, r)
		}()
		for range 4 { // never silent for long
			_, _ = rest.Write([]byte("{"[:1]))
			time.Sleep(10 * time.Second)
		}
		_ = rest.Close()
		<-done
		if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), "longer than 30s") {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	})
}
