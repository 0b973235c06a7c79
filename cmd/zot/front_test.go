package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// recorded is a node with a log and an audit.
type recorded struct {
	at         string // where it serves
	log, audit string
	signals    chan os.Signal
}

// startedRecorded runs a node as `zot serve` does, until the test ends.
func startedRecorded(t *testing.T, file string) recorded {
	t.Helper()
	c, _, err := config.LoadWithFiles(file)
	if err != nil {
		t.Fatal(err)
	}
	log, logged, err := openLog(c.Log, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := recorded{at: "http://127.0.0.1:" + c.HTTP.Port, log: c.Log.Output, audit: c.Log.Audit, signals: make(chan os.Signal, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, setting{
			config: c, version: "test", log: log, signals: n.signals, rotated: reopener{logged},
			failStop: func(err error) { t.Errorf("the node must not go on: %v", err) },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(endOf(ended), logged.Close()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the node is ready", func() bool {
		code, _ := answers(t.Context(), c.HTTP.Port, "/readyz?for=write")
		return code == http.StatusOK
	})
	return n
}

// logIn is the section "log" of a node whose files are in a directory.
func logIn(dir string) string {
	return fmt.Sprintf(`, "log": {"level": "debug", "output": %q, "audit": %q}`, filepath.Join(dir, "zot.log"), filepath.Join(dir, "audit.log"))
}

// threeRecorded runs three nodes, with this in the section "http" of each.
func threeRecorded(t *testing.T, more string) []recorded {
	t.Helper()
	ports, dir := freePorts(t, 6), shortDir(t)
	secret := filepath.Join(dir, "secret")
	put(t, secret, strings.Repeat("secret", 8))
	all := make([]recorded, 3)
	var starting sync.WaitGroup
	for n := range all {
		file := configIn(t, filepath.Join(dir, strconv.Itoa(n)), logIn(t.TempDir())+fmt.Sprintf(`, "http": {"port": %q%s}, "cluster": {"name": "three", "node": "n%d", "listen": "127.0.0.1:%s", `+
			`"advertise": "127.0.0.1:%s", "members": ["127.0.0.1:%s", "127.0.0.1:%s", "127.0.0.1:%s"], "secretFile": %q}`, ports[n], more, n, ports[3+n], ports[3+n], ports[3], ports[4], ports[5], secret))
		starting.Go(func() { all[n] = startedRecorded(t, file) })
	}
	starting.Wait()
	return all
}

// linesOf waits for so many lines of a file about a request, which are written when it has been answered.
func linesOf(t *testing.T, file, message, id string, n int) (found []map[string]any) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d lines %q of request %s in %s", n, message, id, file), func() bool {
		found = nil
		for _, line := range linesIn(t, file) {
			if line["message"] == message && line["request_id"] == id {
				found = append(found, line)
			}
		}
		return len(found) == n
	})
	return found
}

// What a node passes on to another has a line in the audit of both, about the same request of the same client.
func TestAuditOfAForwardedRequest(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	all := threeRecorded(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}`, passwords))
	const first, passedOn = "first-bytes-0001", "passed-on-0002"
	as := func(method, url, id string) wish {
		return wish{method: method, url: url, name: "alice", password: "alice", body: "x", header: []string{"X-Request-Id: " + id, "X-Zot-Client: 192.0.2.66:6"}}
	}
	begun := as("POST", all[0].at+"/v2/team/app/blobs/uploads/", "begun-0000").must(t, 202).header.Get("Location")
	begun = as("PATCH", all[1].at+begun, first).must(t, 202).header.Get("Location") // here is the upload then
	answer := as("PATCH", all[2].at+begun, passedOn).must(t, 202)
	if got := answer.header.Values("X-Request-Id"); len(got) != 1 || got[0] != passedOn {
		t.Errorf("the answer has the ids %q", got)
	}
	linesOf(t, all[1].audit, "HTTP API Audit", first, 1)
	linesOf(t, all[2].audit, "HTTP API Audit", first, 0)
	here, there := linesOf(t, all[2].audit, "HTTP API Audit", passedOn, 1)[0], linesOf(t, all[1].audit, "HTTP API Audit", passedOn, 1)[0]
	for key, want := range map[string]any{"subject": "alice", "action": "PATCH", "object": begun, "status": 202.0, "clientIP": here["clientIP"]} {
		if here[key] != want || there[key] != want {
			t.Errorf("%s is %v here, %v there, want %v", key, here[key], there[key], want)
		}
	}
	if client, _ := here["clientIP"].(string); !strings.HasPrefix(client, "127.0.0.1:") || here["forwarded"] != nil || there["forwarded"] != true {
		t.Errorf("here %v, there %v", here, there)
	}
	if l := linesOf(t, all[2].log, "HTTP API", passedOn, 1)[0]; l["level"] != "info" || l["module"] != "http" || l["username"] != "alice" || l["statusCode"] != 202.0 {
		t.Errorf("the client's line is %v", l)
	}
	if l := linesOf(t, all[1].log, "HTTP API", passedOn, 1)[0]; l["level"] != "debug" || l["forwarded"] != true {
		t.Errorf("the line of the node that answered is %v", l)
	}
	linesOf(t, all[0].log, "HTTP API", passedOn, 0)

	// An error of another node has the id, too.
	gone := wish{method: "GET", url: all[2].at + strings.Replace(begun, "team/app", "team/other", 1), name: "alice", password: "alice", header: []string{"X-Request-Id: not-there-0003"}}.must(t, 404)
	if !strings.Contains(gone.body, `"detail":{"requestId":"not-there-0003"}`) {
		t.Errorf("%s", gone.body)
	}
}

// Whatever a client sends or is sent that lets somebody in, or a file has that does, is in no log and no audit.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	const password, bind, typed = "correct-horse-battery", "ldap-staple-secret", "typed-into-the-name"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, "alice:"+string(hash)+"\n")
	all := threeRecorded(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true, "ldap": {"address": "127.0.0.1", "port": 1, "insecure": true,
		"baseDN": "dc=example,dc=org", "userAttribute": "uid", "bindDN": "cn=zot,dc=example,dc=org", "bindPassword": %q}}`, passwords, bind))
	at := func(n int) string { return all[n%3].at }
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

	secrets := []string{password, bind, typed, string(hash), base64.StdEncoding.EncodeToString([]byte("alice:" + password)), strings.Repeat("secret", 8)}
	in := wish{method: "GET", url: at(0) + "/v2/", name: "alice", password: password, header: []string{"X-ZOT-API-CLIENT: zot-ui"}}.must(t, 200)
	for _, c := range in.cookies {
		if c.Name == "session" {
			secrets = append(secrets, c.Value)
			wish{method: "GET", url: at(1) + "/v2/", header: []string{"X-ZOT-API-CLIENT: zot-ui", "Cookie: session=" + c.Value}}.must(t, 200)
		}
	}
	var made madeKey
	body := wish{method: "POST", url: at(1) + "/zot/auth/apikey", name: "alice", password: password, body: `{"label": "ci"}`}.must(t, 201).body
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, made.APIKey)
	var granted struct{ Token string }
	body = wish{method: "GET", url: at(2) + "/zot/auth/token?service=r&account=alice&scope=repository:team/app:pull,push", name: "alice", password: password}.must(t, 200).body
	if err := json.Unmarshal([]byte(body), &granted); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, granted.Token)
	form := "grant_type=password&service=r&username=alice&password=" + password
	wish{method: "POST", url: at(2) + "/zot/auth/token", body: form}.must(t, 200)
	wish{method: "POST", url: at(0) + "/zot/auth/token?password=" + password, body: "grant_type=refresh_token&service=r&refresh_token=" + made.APIKey}.must(t, 200)
	wish{method: "GET", url: at(0) + "/v2/?access_token=" + granted.Token, name: typed, password: password}.ask(t)
	with := func(method, url string) wish {
		return wish{method: method, url: url, header: []string{"Authorization: Bearer " + granted.Token}, body: "x"}
	}
	for n := range all { // over all nodes, and from one to another
		with("POST", at(n)+"/v2/team/app/blobs/uploads/?digest="+empty).ask(t)
		begun := with("POST", at(n)+"/v2/team/app/blobs/uploads/").must(t, 202).header.Get("Location")
		begun = with("PATCH", at(n+1)+begun).must(t, 202).header.Get("Location")
		with("PATCH", at(n+2)+begun).must(t, 202)
		with("GET", at(n)+"/v2/team/app/blobs/"+empty).ask(t)
		wish{method: "GET", url: at(n) + "/v2/team/app/tags/list?token=" + granted.Token, name: "alice", password: made.APIKey}.ask(t)
		wish{method: "GET", url: at(n) + "/v2/", name: "alice", password: password + "!"}.ask(t)
	}
	wish{method: "DELETE", url: at(0) + "/zot/auth/apikey?id=" + made.UUID, name: "alice", password: password}.must(t, 200)

	last := "the-last-" + made.UUID
	for _, n := range all {
		wish{method: "PUT", url: n.at + "/v2/", name: "alice", password: password, header: []string{"X-Request-Id: " + last}}.ask(t)
		linesOf(t, n.log, "HTTP API", last, 1)
		for _, file := range []string{n.log, n.audit} {
			text, err := os.ReadFile(file)
			if err != nil || len(text) == 0 {
				t.Fatalf("%s: %d bytes, %v", file, len(text), err)
			}
			for line := range bytes.Lines(text) {
				for _, secret := range secrets {
					if secret == "" || bytes.Contains(line, []byte(secret)) {
						t.Errorf("the secret %q is in\n%s", secret, line)
					}
				}
			}
		}
	}
	if l := linesOf(t, all[0].log, "HTTP API", last, 1)[0]; l["username"] != "alice" {
		t.Errorf("%v", l)
	}
}

// What the file says of other sites' pages and of rates holds, each answer has its line, and the files are opened again
// when whoever rotates them asks for it.
func TestFrontOfANode(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	n := startedRecorded(t, configIn(t, shortDir(t), logIn(t.TempDir())+fmt.Sprintf(`, "http": {"port": %q, "allowOrigin": "https://ui.example", "auth": {"htpasswd": {"path": %q}},
		"ratelimit": {"rate": 1000, "methods": [{"method": "DELETE", "rate": 2}]}}`, freePorts(t, 1)[0], passwords)))
	session := sessionAt(t, n.at)
	for origin, allowed := range map[string]bool{"https://ui.example": true, "https://evil.example": false} {
		asked := wish{method: "OPTIONS", url: n.at + "/v2/", header: []string{"Origin: " + origin, "Access-Control-Request-Headers: x-zot-api-client"}}.must(t, 204).header
		if (asked.Get("Access-Control-Allow-Origin") == origin) != allowed || (asked.Get("Access-Control-Allow-Credentials") == "true") != allowed || asked.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %v", origin, asked)
		}
		used := wish{method: "GET", url: n.at + "/v2/", header: []string{"Origin: " + origin, "X-ZOT-API-CLIENT: zot-ui", "Cookie: session=" + session}}.ask(t)
		if (used.status == 200) != allowed || used.header.Get("X-Request-Id") == "" {
			t.Errorf("a session from a page of %s is answered %d", origin, used.status)
		}
		pushed := wish{method: "POST", url: n.at + "/v2/a/blobs/uploads/", name: "alice", password: "alice", header: []string{"Origin: " + origin, "Sec-Fetch-Site: cross-site"}}.ask(t)
		if want := map[bool]int{true: 202, false: 403}[allowed]; pushed.status != want {
			t.Errorf("a push from a page of %s is answered %d, want %d", origin, pushed.status, want)
		}
	}
	for range 2 {
		wish{method: "DELETE", url: n.at + "/v2/a/manifests/v1", name: "alice", password: "alice"}.must(t, 404)
	}
	over := wish{method: "DELETE", url: n.at + "/v2/a/manifests/v1", name: "alice", password: "alice", header: []string{"X-Request-Id: one-too-many"}}
	for range 1000 {
		if answer := over.ask(t); answer.status == 429 {
			if !strings.Contains(answer.body, "TOOMANYREQUESTS") || answer.header.Get("Retry-After") != "1" || answer.header.Get("X-Rate-Limit-Limit") != "2.00" {
				t.Errorf("%s %v", answer.body, answer.header)
			}
			break
		}
	}
	eventually(t, "the line of what was too much", func() bool {
		for _, line := range linesIn(t, n.log) {
			if line["request_id"] == "one-too-many" && line["statusCode"] == 429.0 {
				return true
			}
		}
		return false
	})

	for _, name := range []string{n.log, n.audit} {
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
	}
	n.signals <- syscall.SIGHUP
	eventually(t, "both files are there again", func() bool {
		_, noLog := os.Stat(n.log)
		_, noAudit := os.Stat(n.audit)
		return errors.Join(noLog, noAudit) == nil
	})
	wish{method: "POST", url: n.at + "/v2/a/blobs/uploads/", name: "alice", password: "alice", header: []string{"X-Request-Id: after-the-move"}}.must(t, 202)
	linesOf(t, n.audit, "HTTP API Audit", "after-the-move", 1)
	linesOf(t, n.log, "HTTP API", "after-the-move", 1)
}
