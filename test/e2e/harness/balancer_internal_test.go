package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReaddress(t *testing.T) {
	t.Parallel()
	const config = `# A comment
global
    chroot /nowhere
defaults
    timeout server 50s

frontend zot
    bind *:8080
backend zot
    server a 192.0.2.1:5000 check
    server b 192.0.2.2:5000
    server c 192.0.2.3:5000
backend other
    server a 192.0.2.1:5000
`
	const want = `global
    log stdout format raw local0
    maxconn 2000
# A comment
defaults
    timeout server 50s
frontend zot
    bind 127.0.0.1:1
backend zot
    server a 127.0.0.1:2 check
    server b 127.0.0.1:3
backend other
    server a 127.0.0.1:2
`
	if got := readdress(config, "127.0.0.1:1", []string{"127.0.0.1:2", "127.0.0.1:3"}); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		line string
		want []Request
	}{
		"a push": {
			`127.0.0.1:57356 [25/Nov/2026:04:24:29.673] zot zot/zot-1 0/0/0/1/12 201 212 - - ---- 1/1/0/0/0 0/0 "POST /v2/a/blobs/uploads/?mount=x HTTP/1.1"`,
			[]Request{{"zot-1", 201, "POST", "/v2/a/blobs/uploads/?mount=x"}},
		},
		"no server":    {`127.0.0.1:57356 [25/Nov/2026:04:24:29.673] zot zot/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>"`, nil},
		"no answer":    {`127.0.0.1:1 [25/Nov/2026:04:24:29.673] zot zot/zot-0 0/0/0/-1/5 -1 0 - - CH-- 1/1/0/0/0 0/0 "GET /v2/ HTTP/1.1"`, nil},
		"not finished": {`127.0.0.1:1 [25/Nov/2026:04:24:29.673] zot zot/zot-0 0/0/0/1/+5 200 +7 - - ---- 1/1/0/0/0 0/0 "GET /v2/ HTTP/1.1"`, []Request{{"zot-0", 200, "GET", "/v2/"}}},
		"other words":  {`Server zot/zot-1 is DOWN, reason: Layer7 wrong status, code: 503, check duration: 1ms.`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := requests(test.line + "\n"); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// A port is nobody else's while a test has it, also when nobody listens there.
func TestFreePortsAreGivenOnce(t *testing.T) {
	t.Parallel()
	given := map[int]bool{}
	for range 2 {
		for _, port := range FreePorts(t, 300) {
			if given[port] {
				t.Errorf("port %d is given twice", port)
			}
			given[port] = true
		}
	}
}

// Users get the file as it is.
func TestConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed: run make e2e-deps")
	}
	for _, name := range []string{"haproxy.cfg", "haproxy-tls.cfg"} {
		file := filepath.Join("..", "..", "..", "deploy", "haproxy", name)
		if out, err := exec.CommandContext(t.Context(), haproxy, "-c", "-f", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"timeout connect 5s", "timeout client  50s", "timeout server  50s", "balance roundrobin", "maxconn 2000"} {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s does not say %q (COMPAT 10)", file, line)
			}
		}
	}
}
