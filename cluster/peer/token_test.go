package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
)

func noon() time.Time { return time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC) }

// testHost is a peer that can judge what new machines show, without a port.
func testHost(t testing.TB, lines ...string) *Peer {
	t.Helper()
	q := testParty("zot-0", lines...)
	trust, err := newTrust(q.secrets, "zot-0", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{self: q.self, cluster: q.cluster, refusals: newLimiter(), logger: hclog.NewNullLogger(), spending: make(chan struct{}, 1)}
	p.trust.Store(trust)
	return p
}

func invited(t testing.TB, p *Peer) string {
	t.Helper()
	text, expires, err := p.Invite(noon())
	if err != nil || expires != noon().Add(time.Hour) {
		t.Fatalf("token until %s, %v", expires, err)
	}
	return text
}

func TestToken(t *testing.T) {
	p := testHost(t, "x", "y")
	text := invited(t, p)
	again := invited(t, p)
	got, err := parseToken("  " + text + "\n")
	other, errToo := parseToken(again)
	if err != nil || errToo != nil || got.id == other.id {
		t.Fatalf("%v, %v, ids %x and %x", err, errToo, got.id, other.id)
	}
	authority, _, err := p.trust.Load().secrets[0].authority()
	if err != nil || got.pin != sha256.Sum256(authority.Raw) || !got.expires.Equal(noon().Add(time.Hour)) {
		t.Errorf("pin %x, expires %s, %v", got.pin, got.expires, err)
	}
	for name, test := range map[string]struct {
		lines []string
		want  bool
	}{
		"the same": {[]string{"x", "y"}, true}, "swapped": {[]string{"y", "x"}, true}, "removed": {[]string{"y"}, false},
	} {
		if is := got.genuine(testHost(t, test.lines...).Keys()); is != test.want {
			t.Errorf("%s: genuine is %t", name, is)
		}
	}
}

// TestEveryBitOfATokenCounts changes each.
func TestEveryBitOfATokenCounts(t *testing.T) {
	p := testHost(t, "x")
	b, err := base64.RawURLEncoding.DecodeString(invited(t, p))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(b) {
		changed := bytes.Clone(b)
		changed[i/8] ^= 1 << (i % 8)
		got, err := parseToken(base64.RawURLEncoding.EncodeToString(changed))
		if err == nil && got.genuine(p.Keys()) {
			t.Errorf("bit %d may be changed", i)
		}
	}
}

func TestTextsThatAreNoTokens(t *testing.T) {
	text := invited(t, testHost(t, "x"))
	for name, test := range map[string]struct{ text, says string }{
		"nothing":      {"", "has 0 bytes"},
		"cut":          {text[:60], "has 45 bytes, a token has 89"},
		"too long":     {text + "AAAA", "has 92 bytes"},
		"no base64":    {text[:118] + "!", "characters"},
		"newer":        {base64.RawURLEncoding.EncodeToString([]byte{2, 1, 1}), "another version"},
		"far from now": {base64.RawURLEncoding.EncodeToString(append([]byte{1}, bytes.Repeat([]byte{255}, tokenSize-1)...)), "no date"},
	} {
		_, err := parseToken(test.text)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), text[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInviteNeedsASecretThatFits(t *testing.T) {
	for name, lines := range map[string][]string{"long line": {strings.Repeat("x", 100)}, "many lines": strings.Split(strings.Repeat("x", 65), "")} {
		if _, _, err := testHost(t, lines...).Invite(noon()); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func request(text string) joinRequest {
	return joinRequest{Version: 1, Token: text, Cluster: "prod", Node: "zot-3", Joiner: bytes.Repeat([]byte{7}, joinerSize)}
}

// TestHear has a stranger show what is not good, in each way.
func TestHear(t *testing.T) {
	p := testHost(t, "x", "y")
	text := invited(t, p)
	for name, test := range map[string]struct {
		change func(*joinRequest)
		after  time.Duration
		reason JoinReason // "" for a guest
		says   string
	}{
		"good":            {},
		"in the last":     {after: time.Hour - time.Nanosecond},
		"second line":     {change: func(r *joinRequest) { r.Token = invited(t, testHost(t, "y")) }},
		"expired":         {after: time.Hour, reason: TokenExpired, says: `expired at 2026-08-01T13:00:00Z, by the clock of node "zot-0" it is 2026-08-01T13:00:00Z`},
		"another secret":  {change: func(r *joinRequest) { r.Token = invited(t, testHost(t, "z")) }, reason: TokenForeign, says: "in use here"},
		"no token":        {change: func(r *joinRequest) { r.Token = "" }, reason: TokenMalformed},
		"another cluster": {change: func(r *joinRequest) { r.Cluster = "test" }, reason: JoinCluster, says: `"prod"`},
		"without a name":  {change: func(r *joinRequest) { r.Node = "" }, reason: TokenMalformed},
		"a long name":     {change: func(r *joinRequest) { r.Node = strings.Repeat("n", maxNode+1) }, reason: TokenMalformed},
		"no joiner":       {change: func(r *joinRequest) { r.Joiner = r.Joiner[:joinerSize-1] }, reason: TokenMalformed},
		"newer":           {change: func(r *joinRequest) { r.Version = 2 }, reason: JoinVersion},
		"foreign and all": {change: func(r *joinRequest) { r.Token, r.Cluster = invited(t, testHost(t, "z")), "test" }, after: 2 * time.Hour, reason: TokenForeign},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(text)
			if test.change != nil {
				test.change(&r)
			}
			conn := &script{Reader: bytes.NewReader(frame(r))}
			i, err := p.hear(conn, "10.0.0.9:1", noon().Add(test.after))
			if test.reason == "" {
				if err != nil || i.Node != "zot-3" || i.Joiner[0] != 7 || conn.sent.Len() != 0 {
					t.Errorf("%+v, %v", i, err)
				}
				return
			}
			refused, _ := errors.AsType[*JoinError](err)
			var a joinAnswer
			if err := readFrames(&conn.sent, &a); err != nil || refused == nil || refused.Reason != test.reason || a.Refused != test.reason || !strings.Contains(a.Detail, test.says) {
				t.Errorf("%v; answered %+v, %v", refused, a, err)
			}
			if test.reason == TokenForeign && strings.Contains(a.Detail, "prod") {
				t.Error("a stranger is told the cluster's name")
			}
		})
	}
}

// FuzzHear sends anything to a node. Nothing but a genuine token makes a guest, and what is answered holds no line of
// the secret.
func FuzzHear(f *testing.F) {
	p := testHost(f, "x", "y")
	text := invited(f, p)
	late := request(text)
	late.Cluster = "test"
	f.Add(frame(request(text)))
	f.Add(frame(late))
	f.Add(frame(request(text[:50])))
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn := &script{Reader: bytes.NewReader(sent)}
		i, err := p.hear(conn, "10.0.0.9:1", noon())
		checkFrames(t, conn.sent.Bytes())
		if bytes.Contains(conn.sent.Bytes(), []byte("xxxx")) {
			t.Error("a line of the secret is answered")
		}
		if err != nil {
			return
		}
		var r joinRequest
		if err := readFrames(bytes.NewReader(sent), &r); err != nil {
			t.Fatal(err)
		}
		if shown, err := parseToken(r.Token); err != nil || !shown.genuine(p.Keys()) || i.Token != shown.id {
			t.Errorf("let in with %q", r.Token)
		}
	})
}

// FuzzToken: each token has one text, but for the line breaks that a terminal puts in.
func FuzzToken(f *testing.F) {
	f.Add(invited(f, testHost(f, "x")))
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseToken(text)
		if err != nil {
			return
		}
		if again := base64.RawURLEncoding.EncodeToString(append(got.signed[:], got.mac[:]...)); again != strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimSpace(text)) {
			t.Errorf("%q is read as %q", text, again)
		}
	})
}

// FuzzJoinAnswer is what a node that holds the secret, and is mad, may answer.
func FuzzJoinAnswer(f *testing.F) {
	p := testHost(f, "x", "y")
	p.TakeIn(func(context.Context, Invitation) error { return nil })
	good, refused := p.spent(f.Context(), Invitation{})
	if refused != nil {
		f.Fatal(refused)
	}
	f.Add(frame(good...))
	f.Add(frame(joinAnswer{Refused: TokenSpent, Detail: "\x00\xff"}))
	f.Add(frame(joinAnswer{Lines: 1 << 40}))
	f.Add(frame(joinAnswer{Lines: 1}, json.RawMessage("{}")))
	f.Fuzz(func(t *testing.T, sent []byte) {
		w, err := JoinConfig{}.ask(&script{Reader: bytes.NewReader(sent)})
		if _, tooShort := newSecrets(w.Secrets); err == nil && (len(w.Secrets) > maxLines || tooShort != nil) {
			t.Errorf("%d lines are taken: %v", len(w.Secrets), tooShort)
		}
		refused, _ := errors.AsType[*JoinError](err)
		if refused != nil && strings.ContainsFunc(refused.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("refusal %+v", refused)
		}
	})
}
