package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, one, two := tlsFiles(t), pair(t, 1), pair(t, 2)
	put(t, files.Cert, one.cert)
	put(t, files.Key, two.key)
	secret := filepath.Join(dir, "secret")
	put(t, secret, line("a"), "hunter2")
	good := configIn(t, dir, `, "distSpecVersion": "1.1.0"`)
	bad := configIn(t, dir, fmt.Sprintf(`, "htpp": {}, "http": {"port": 70000, "tls": {"cert": %q, "key": %q}},
		"cluster": {"members": ["zot-0", "zot-1:7373", "zot-2:7373"], "advertise": ":1", "secretFile": %q}`, files.Cert, files.Key, secret))
	foreign := filepath.Join(dir, "foreign.json") // zot takes both, and serves with neither of them as it is
	put(t, foreign, `{"storage": {}, "cluster": {"members": ["zot-0:9000", "zot-1:9000", "zot-2:9000"], "hashKey": "loremipsumdolors"}}`)
	missing := configIn(t, dir, `, "http": {"tls": {"cert": "/nowhere/cert", "key": "/nowhere/key"}}`)
	passwords := filepath.Join(dir, "htpasswd")
	put(t, passwords, "# users", "alice:secret")
	unhashed := configIn(t, dir, fmt.Sprintf(`, "http": {"auth": {"htpasswd": {"path": %q}}}`, passwords))

	for name, test := range map[string]struct {
		args []string
		want called
	}{
		"passwords": {[]string{unhashed}, called{0, "note: http.auth.htpasswd.path: line 2 of " + passwords +
			" is left out: user \"alice\" cannot log in: its hash is neither bcrypt nor SHA-crypt; make one with htpasswd -B\n" + unhashed + " is valid\n", ""}},
		"valid": {[]string{good}, called{0, "note: distSpecVersion: \"1.1.0\" is asked for; 1.1.1 is what is spoken\n" + good + " is valid\n", ""}},
		"all problems at once": {[]string{bad}, called{1, "", "zot: " + bad + ": 6 problems\n" +
			"  htpp: unknown key; did you mean \"http\"?\n" +
			"  http.port: \"70000\" is no port; give a number from 0 to 65535, 0 for any free port\n" +
			"  cluster.advertise: \":1\" has no host; write it as \"zot-0.zot:7373\"\n" +
			"  cluster.members[0]: \"zot-0\" is no host:port; write it as \"zot-0.zot:7373\", or \"dns:zot.prod.svc:7373\" for a name that leads to all nodes\n" +
			"  http.tls: cert and key: tls: private key does not match public key; give a certificate and its key in PEM, the certificate first if the file has a chain\n" +
			"  cluster.secretFile: " + secret + ": line 2 has 7 characters, at least 32 are needed; make one with `openssl rand -hex 32` and give it to every node\n"}},
		"files that are not there": {[]string{missing}, called{1, "", "zot: " + missing + ": 2 problems\n" +
			"  http.tls.cert: open /nowhere/cert: no such file or directory; put it there, or name another one\n" +
			"  http.tls.key: open /nowhere/key: no such file or directory; put it there, or name another one\n"}},
		"what only serving refuses": {[]string{foreign}, called{0, "warning: 'zot serve' will refuse this file: cluster.hashKey: is of zot's own clusters, whose members share one storage; three nodes that start alone behind one load balancer would lose pushes; " +
			"write instead {\"cluster\": {\"members\": [\"HOST:7373\", ...], \"secretFile\": \"/etc/zot/cluster-secret\"}}, with the port between nodes\n" +
			"warning: 'zot serve' will refuse this file: storage.rootDirectory: is missing; say where the data goes, as \"/var/lib/zot\"\n" + foreign + " is valid\n", ""}},
		"on another machine": {[]string{"--file-alone", missing}, called{0, missing + " is valid\n", ""}},
		"no file":            {[]string{"/nowhere/c.json"}, called{1, "", "zot: /nowhere/c.json: read the configuration: open /nowhere/c.json: no such file or directory\n"}},
		"which file":         {nil, called{2, "", "zot: accepts 1 arg(s), received 0\nRun 'zot verify --help' for usage.\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := call(append([]string{"verify"}, test.args...)...); got != test.want {
				t.Errorf("got\n%+v\nwant\n%+v", got, test.want)
			}
		})
	}
}

// Every example of zot's is valid. Of the files that they name none is there, which is the one thing that is
// wrong with them on this machine.
func TestVerifyExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../test/testdata/zot-examples/config-*.*")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		if got := call("verify", "--file-alone", file); got.code != exitDone || got.stderr != "" {
			t.Errorf("%+v", got)
		}
		got := call("verify", file)
		_, problems, _ := strings.Cut(got.stderr, file+": ")
		for line := range strings.Lines(problems) { // all that may be wrong is that files are not there which it names
			if !strings.Contains(line, ": no such file or directory; ") && !strings.HasSuffix(line, " problems\n") {
				t.Errorf("%s: %s", file, line)
			}
		}
		if (got.code == exitFailed) != (problems != "") {
			t.Errorf("%+v", got)
		}
	}
}
