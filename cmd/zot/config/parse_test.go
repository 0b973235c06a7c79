package config_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/condition"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// update makes golden write what it would compare with.
var update = flag.Bool("update", false, "rewrite golden files") //nolint:gochecknoglobals // a flag of the test binary

// minimal is what a file needs at least, around the keys of a test.
func minimal(rest string) string {
	return `{"storage": {"rootDirectory": "/var/lib/zot"}` + rest + `}`
}

// inBucket is a configuration that has copies in a bucket.
func inBucket(b config.Bucket) func(*config.Config) {
	return func(c *config.Config) { c.Storage.Bucket = &b }
}

// withHints is a configuration that has copies in a bucket of other clusters, too.
func withHints(h config.Hints) func(*config.Config) {
	return func(c *config.Config) {
		inBucket(config.Bucket{Region: "r", Name: "zot", Secure: true, ChunkSize: 10 << 20})(c)
		c.Storage.Hints = &h
	}
}

// minimalStorage is minimal with more keys in "storage".
func minimalStorage(rest string) string {
	return `{"storage": {"rootDirectory": "/var/lib/zot", ` + rest + `}}`
}

// whole is what minimal becomes on the machine zot-0.
func whole() config.Config {
	c := config.Default("zot-0")
	c.Storage.RootDirectory = "/var/lib/zot"
	c.Cluster.Alone = true
	c.Cluster.Advertise = "zot-0:7373"
	c.Cluster.BootstrapExpect, c.Cluster.Replicas, c.Cluster.WriteAcks = 1, 1, 1
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got := whole()
	want := config.Config{
		DistSpecVersion: "1.1.1",
		Storage:         config.Storage{Store: config.Store{RootDirectory: "/var/lib/zot", Dedupe: true, GC: true, GCDelay: time.Hour, GCInterval: time.Hour}},
		HTTP:            config.HTTP{Address: "127.0.0.1", Port: "8080"},
		Log:             config.Log{Level: "debug"},
		Cluster: config.Cluster{
			Alone: true, Name: "zot", Node: "zot-0", Listen: "0.0.0.0:7373", Advertise: "zot-0:7373",
			BootstrapExpect: 1, Replicas: 1, WriteAcks: 1, Reads: "available", Timing: "default",
		},
		Extensions: config.Extensions{Scrub: config.Scrub{Interval: 7 * 24 * time.Hour}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the defaults are\n%+v\nnot\n%+v", got, want)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	// inCluster is what a cluster of these members becomes.
	inCluster := func(change func(*config.Config), members ...string) func(*config.Config) {
		return func(c *config.Config) {
			c.Cluster.Alone = false
			c.Cluster.Members, c.Cluster.BootstrapExpect = members, max(len(members), 1)
			c.Cluster.Replicas, c.Cluster.WriteAcks = 3, 2
			change(c)
		}
	}
	same := func(*config.Config) {}
	scrubEvery := func(d time.Duration) func(*config.Config) {
		return func(c *config.Config) { c.Extensions.Scrub.Interval = d }
	}
	for name, test := range map[string]struct {
		file string
		want func(*config.Config)
	}{
		"nothing but the root directory": {minimal(``), same},
		"distSpecVersion":                {minimal(`, "distSpecVersion": "1.1.0-dev"`), same},
		"http":                           {minimal(`, "http": {"address": "::1", "port": "5000"}`), func(c *config.Config) { c.HTTP = config.HTTP{Address: "::1", Port: "5000"} }},
		"port as a number":               {minimal(`, "http": {"port": 5000}`), func(c *config.Config) { c.HTTP.Port = "5000" }},
		"any port":                       {minimal(`, "http": {"port": ""}`), func(c *config.Config) { c.HTTP.Port = "" }},
		"an address in brackets":         {minimal(`, "http": {"address": "[fe80::1%eth0]"}`), func(c *config.Config) { c.HTTP.Address = "[fe80::1%eth0]" }},
		"every key of storage": {
			`{"storage": {"rootDirectory": "/r", "dedupe": false, "gc": "false", "gcDelay": "90m", "gcInterval": "24h", "commit": 1, "remoteCache": "true",
				"cacheDriver": {"name": "redis", "url": "redis://host"}, "fastRestart": true}}`,
			func(c *config.Config) {
				c.Storage = config.Storage{Store: config.Store{RootDirectory: "/r", GCDelay: 90 * time.Minute, GCInterval: 24 * time.Hour}}
			},
		},
		"true in words and numbers": {
			minimalStorage(`"dedupe": "1", "gc": 2.5`), same,
		},
		"false in words and numbers": {
			minimalStorage(`"dedupe": 0, "gc": ""`), func(c *config.Config) { c.Storage.Dedupe, c.Storage.GC = false, false },
		},
		"durations as nanoseconds": {
			minimalStorage(`"gcDelay": 3600000000000, "gcInterval": 300`),
			func(c *config.Config) { c.Storage.GCDelay, c.Storage.GCInterval = time.Hour, 300 },
		},
		"limits of requests, and workers": {
			minimal(`, "http": {"readTimeout": "-1s", "writeTimeout": "2h"}, "scheduler": {"numWorkers": "2"}`),
			func(c *config.Config) {
				c.HTTP.ReadTimeout, c.HTTP.WriteTimeout, c.Workers = -time.Second, 2*time.Hour, 2
			},
		},
		"words in any case": {minimal(`, "log": {"level": "Info"}`), func(c *config.Config) { c.Log.Level = "info" }},
		"no interval": {
			minimalStorage(`"gcInterval": "0s"`), func(c *config.Config) { c.Storage.GCInterval = 0 },
		},
		"a bucket and no directory": {
			`{"storage": {"storageDriver": {"name": "s3", "region": "r", "bucket": "zot"}}}`, inBucket(config.Bucket{Region: "r", Name: "zot", Secure: true, ChunkSize: 10 << 20}),
		},
		"hints of other clusters": {
			minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "zot"}, "cacheDriver": {"name": "dynamodb", "region": "r2",
				"endpoint": "http://localhost:8000", "cacheTablename": "blobs", "repoMetaTablename": "unneeded", "any": "thing"}`),
			withHints(config.Hints{Region: "r2", Endpoint: "http://localhost:8000", Table: "blobs"}),
		},
		"hints without dedupe": {
			minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "zot"}, "dedupe": false, "remoteCache": true, "cacheDriver": {"name": "dynamodb", "region": "r2",
				"cacheTablename": "blobs"}`),
			func(c *config.Config) {
				withHints(config.Hints{Region: "r2", Table: "blobs"})(c)
				c.Storage.Dedupe = false
			},
		},
		"hints that are not used": {
			minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "zot"}, "remoteCache": false, "cacheDriver": {"name": "dynamodb", "cacheTablename": "blobs"}`),
			inBucket(config.Bucket{Region: "r", Name: "zot", Secure: true, ChunkSize: 10 << 20}),
		},
		"hints without a table": {
			minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "zot"}, "cacheDriver": {"name": "dynamodb", "region": "r"}`),
			inBucket(config.Bucket{Region: "r", Name: "zot", Secure: true, ChunkSize: 10 << 20}),
		},
		"a bucket elsewhere": {
			minimalStorage(`"storageDriver": {"Name": "S3", "region": "r", "bucket": "zot", "regionendpoint": "localhost:9000", "Secure": "false"}`),
			inBucket(config.Bucket{Region: "r", Name: "zot", Endpoint: "localhost:9000", PathStyle: true, ChunkSize: 10 << 20}),
		},
		"every key of a bucket": {
			`{"storage": {"rootDirectory": "/var/lib/zot", "redirectBlobURL": true, "storageDriver": {"name": "s3", "region": "r", "bucket": "b", "regionendpoint": "https://e", "rootdirectory": "/p",
				"accesskey": "a", "secretkey": "s", "sessiontoken": "t", "secure": true, "skipverify": true, "v4auth": true, "forcepathstyle": false, "encrypt": true, "keyid": "k", "chunksize": 20971520,
				"multipartcopychunksize": 1, "multipartcopymaxconcurrency": 1, "multipartcopythresholdsize": 1, "loglevel": "off", "storageclass": "STANDARD_IA", "objectacl": "private", "useragent": "u",
				"usedualstack": true, "accelerate": true}}, "cluster": {"node": "zot-0", "secretFile": "s", "members": ["zot-0:7373", "zot-1:7373", "zot-2:7373"]}}`,
			func(c *config.Config) {
				inBucket(config.Bucket{
					Region: "r", Name: "b", Endpoint: "https://e", Root: "/p", AccessKey: "a", SecretKey: "s", SessionToken: "t", Secure: true, SkipVerify: true,
					Encrypt: true, KeyID: "k", ChunkSize: 20 << 20, StorageClass: "STANDARD_IA", ACL: "private", UserAgent: "u", DualStack: true, Accelerate: true, Redirect: true,
				})(c)
				c.Cluster.Alone, c.Cluster.SecretFile, c.Cluster.Advertise, c.Cluster.BootstrapExpect = false, "s", "zot-0:7373", 3
				c.Cluster.Replicas, c.Cluster.WriteAcks = 3, 2
				c.Cluster.Members = []string{"zot-0:7373", "zot-1:7373", "zot-2:7373"}
			},
		},
		"tls": {minimal(`, "http": {"tls": {"cert": "c", "key": "k"}}`), func(c *config.Config) { c.HTTP.TLS = config.ServerTLS{Cert: "c", Key: "k"} }},
		"clients' certificates, and nothing else": {
			minimal(`, "http": {"tls": {"cert": "c", "key": "k", "CACert": "a"}, "auth": {"htpasswd": {}}, "accessControl": {"repositories": {"**": {"anonymousPolicy": []}}}}`),
			func(c *config.Config) {
				c.HTTP.TLS = config.ServerTLS{Cert: "c", Key: "k", ClientCA: "a", ClientMust: true}
				c.HTTP.Auth.Access = rules(map[string]access.Repository{"**": {}})
			},
		},
		"clients' certificates, or passwords": {
			minimal(`, "http": {"tls": {"cert": "c", "key": "k", "cacert": "a"}, "AUTH": {"HTpasswd": {"Path": "p"}}}`),
			func(c *config.Config) {
				c.HTTP.TLS = config.ServerTLS{Cert: "c", Key: "k", ClientCA: "a"}
				c.HTTP.Auth.Htpasswd = "p"
			},
		},
		"clients' certificates, or nobody in particular": {
			minimal(`, "http": {"tls": {"cert": "c", "key": "k", "cacert": "a"}, "accessControl": {"public/**": {"anonymousPolicy": ["read"]}}}`),
			func(c *config.Config) {
				c.HTTP.TLS = config.ServerTLS{Cert: "c", Key: "k", ClientCA: "a"}
				c.HTTP.Auth.Access = rules(map[string]access.Repository{"public/**": {Anonymous: access.Read}})
			},
		},
		"who, and what they may do": {
			minimal(`, "http": {"realm": "here", "auth": {"failDelay": 5, "htpasswd": {"path": "p"}}, "accessControl": {
				"repositories": {"Team/**": {"policies": [{"users": ["alice"], "groups": ["devs"], "actions": ["read", "create", "detectManifestCollision"]}],
					"defaultPolicy": ["read"], "anonymousPolicy": "read"}},
				"adminPolicy": {"users": ["root"], "actions": ["read", "update", "delete"]}, "groups": {"devs": {"users": ["bob"]}}}}`),
			func(c *config.Config) {
				c.HTTP.Auth = config.Auth{Realm: "here", FailDelay: 5 * time.Second, Htpasswd: "p", Access: &access.Config{
					Repositories: map[string]access.Repository{"team/**": {
						Policies: []access.Policy{{Users: []string{"alice"}, Groups: []string{"devs"}, Actions: access.Read | access.Create | access.DetectCollision}},
						Default:  access.Read, Anonymous: access.Read,
					}},
					Admin:  access.Policy{Users: []string{"root"}, Actions: access.Read | access.Update | access.Delete},
					Groups: map[string][]string{"devs": {"bob"}},
				}}
			},
		},
		"a way to log in that is not there yet": {
			minimal(`, "http": {"auth": {"bearer": {"realm": "a"}}}`), func(c *config.Config) { c.HTTP.Auth.Half = true },
		},
		"another token service": {
			minimal(`, "http": {"auth": {"bearer": {"realm": "https://auth.example/token", "service": "zot", "cert": "c"}, "htpasswd": {"path": "p"}, "apikey": true, "mtls": {},
				"ldap": {"address": "l", "baseDN": "dc=org", "userAttribute": "uid"}}, "accessControl": {"**": {"policies": [{"users": ["alice"], "actions": ["read"]}]}}}`),
			func(c *config.Config) {
				c.HTTP.Auth.Bearer = &config.Bearer{Realm: "https://auth.example/token", Service: "zot", Cert: "c"}
				c.HTTP.Auth.Access = rules(map[string]access.Repository{"**": {Policies: []access.Policy{{Users: []string{"alice"}, Actions: access.Read}}}})
			},
		},
		"workloads": {
			minimal(`, "http": {"auth": {"bearer": {"OIDC": [{"issuer": "https://i", "audiences": "zot, others", "claimMapping": {"username": "vars.n", "groups": "['ci']",
				"variables": [{"name": "n", "expression": "claims.sub"}], "validations": [{"expression": "claims.x == 'y'", "message": "m"}]}, "certificateAuthorityFile": "f"}]}}}`),
			func(c *config.Config) {
				c.HTTP.Auth.Bearer = &config.Bearer{OIDC: []bearer.Issuer{{URL: "https://i", Audiences: []string{"zot", "others"}, CAFile: "f", Mapping: condition.Mapping{
					Username: "vars.n", Groups: "['ci']", Variables: []condition.Variable{{Name: "n", Expression: "claims.sub"}},
					Validations: []condition.Validation{{Expression: "claims.x == 'y'", Message: "m"}},
				}}}}
			},
		},
		"what of a certificate is a name": {
			minimal(`, "http": {"tls": {"cert": "c", "key": "k", "cacert": "a"}, "auth": {"mtls": {"identityAttributes": ["URI", "rfc822Name", "commonname"],
				"uriSanPattern": "^spiffe://x/(.*)", "uriSanIndex": 1, "dnsSanIndex": "2", "emailSanIndex": 3}}}`),
			func(c *config.Config) {
				c.HTTP.TLS = config.ServerTLS{Cert: "c", Key: "k", ClientCA: "a", ClientMust: true}
				c.HTTP.Auth.MTLS = &config.MTLS{Attributes: []auth.Attribute{auth.URI, auth.Email, auth.CommonName}, URIPattern: "^spiffe://x/(.*)", URIIndex: 1, DNSIndex: 2, EmailIndex: 3}
			},
		},
		"conditions, and who may read metrics": {
			minimal(`, "http": {"auth": {"htpasswd": {"path": "p"}}, "accessControl": {"repositories": {"**": {"policies": [{"users": ["alice"], "actions": ["read"],
				"conditions": [{"expression": "req.tls.enabled", "message": "with TLS only"}]}]}}, "adminPolicy": {"users": ["root"], "actions": ["read"], "conditions": [{"expression": "true"}]},
				"metrics": {"users": ["prometheus"], "anonymousPolicy": ["read"]}}}`),
			func(c *config.Config) {
				c.HTTP.Auth.Htpasswd = "p"
				c.HTTP.Auth.Access = rules(map[string]access.Repository{"**": {Policies: []access.Policy{{
					Users: []string{"alice"}, Actions: access.Read, Conditions: []access.Condition{{Expression: "req.tls.enabled", Message: "with TLS only"}},
				}}}})
				c.HTTP.Auth.Access.Admin = access.Policy{Users: []string{"root"}, Actions: access.Read, Conditions: []access.Condition{{Expression: "true"}}}
				c.HTTP.Auth.Metrics = &config.MetricsAccess{Users: []string{"prometheus"}, Anonymous: true}
			},
		},
		"LDAP": {
			minimal(`, "http": {"auth": {"LDAP": {"address": "ldap.example.org", "baseDN": "dc=org", "userAttribute": "uid"}}}`),
			func(c *config.Config) {
				c.HTTP.Auth.LDAP = &config.LDAP{Address: "ldap.example.org", BaseDN: "dc=org", UserAttribute: "uid"}
			},
		},
		"every key of LDAP": {
			minimal(`, "http": {"auth": {"ldap": {"address": "::1", "port": "3389", "insecure": true, "startTLS": "true", "skipVerify": 1, "cacert": "c", "baseDN": "dc=org",
				"subtreeSearch": true, "userAttribute": "uid", "userFilter": "a=b", "userGroupAttribute": "memberOf", "bindDN": "user@example.org", "bindPassword": "p"}}}`),
			func(c *config.Config) {
				c.HTTP.Auth.LDAP = &config.LDAP{
					Address: "::1", Port: 3389, Insecure: true, StartTLS: true, SkipVerify: true, CACert: "c", BaseDN: "dc=org", Subtree: true,
					UserAttribute: "uid", UserFilter: "a=b", GroupAttribute: "memberOf", BindDN: "user@example.org", BindPassword: "p",
				}
			},
		},
		"proxies before a node that is alone": {
			minimal(`, "cluster": {"TrustedProxies": ["10.0.0.7", "10.1.2.3/16", "fd00::/8"], "quotas": {}}`), func(c *config.Config) {
				c.Cluster.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
			},
		},
		"log":                    {minimal(`, "log": {"level": "warn", "output": "/dev/null"}`), func(c *config.Config) { c.Log = config.Log{Level: "warn", Output: "/dev/null"} }},
		"keys in any case":       {`{"STORAGE": {"rootdirectory": "/var/lib/zot"}, "Http": {"PORT": "1"}}`, func(c *config.Config) { c.HTTP.Port = "1" }},
		"a key twice":            {minimal(`, "http": {"port": "1", "port": "2"}`), func(c *config.Config) { c.HTTP.Port = "2" }},
		"null is nothing":        {minimal(`, "http": {"port": null}, "cluster": null`), same},
		"keys of zot":            {minimal(`, "extensions": {"lint": {}}, "goVersion": "go1.20"`), same},
		"what comes with search": {minimal(`, "extensions": {"search": {}}`), func(c *config.Config) { c.Extensions.Mgmt, c.Extensions.Marks = true, true }},
		"what does not":          {minimal(`, "extensions": {"search": {"enable": "false"}, "userprefs": {"enable": false}}`), same},
		"a part of that": {minimal(`, "extensions": {"mgmt": {}, "search": {"enable": false}}`), func(c *config.Config) {
			c.Extensions.Mgmt, c.Extensions.Trust = true, config.Trust{Cosign: true, Notation: true}
		}},
		"trust":                    {minimal(`, "extensions": {"trust": {"cosign": true}}`), func(c *config.Config) { c.Extensions.Trust.Cosign = true }},
		"trust says more":          {minimal(`, "extensions": {"trust": {"enable": true, "notation": "true"}, "mgmt": {}}`), func(c *config.Config) { c.Extensions.Mgmt, c.Extensions.Trust.Notation = true, true }},
		"no trust":                 {minimal(`, "extensions": {"trust": {"enable": false, "cosign": true, "notation": true}, "mgmt": {"enable": false}}`), same},
		"trust in nobody":          {minimal(`, "extensions": {"trust": {}}`), same},
		"scrub":                    {minimal(`, "extensions": {"scrub": {}}`), scrubEvery(24 * time.Hour)},
		"scrub at times":           {minimal(`, "extensions": {"scrub": {"enable": true, "interval": "48h"}}`), scrubEvery(48 * time.Hour)},
		"scrub too often":          {minimal(`, "extensions": {"scrub": {"interval": "119m"}}`), scrubEvery(2 * time.Hour)},
		"scrub all the time":       {minimal(`, "extensions": {"scrub": {"interval": "0s"}}`), scrubEvery(2 * time.Hour)},
		"no scrub":                 {minimal(`, "extensions": {"scrub": {"enable": false, "interval": "1m"}}`), scrubEvery(0)},
		"an empty cluster section": {minimal(`, "cluster": {}`), inCluster(same)},
		"advertise by name": {
			minimal(`, "cluster": {"node": "b", "secretFile": "s", "members": ["a.zot:7373", "B.zot:7474", "c.zot:7373"]}`),
			inCluster(func(c *config.Config) {
				c.Cluster.Node, c.Cluster.SecretFile, c.Cluster.Advertise = "b", "s", "B.zot:7474"
			}, "a.zot:7373", "B.zot:7474", "c.zot:7373"),
		},
		"advertise by whole name": {
			minimal(`, "cluster": {"node": "a.one", "secretFile": "s", "members": ["a.two:1", "a.one:1"]}`),
			inCluster(func(c *config.Config) {
				c.Cluster.Node, c.Cluster.SecretFile, c.Cluster.Advertise = "a.one", "s", "a.one:1"
			}, "a.two:1", "a.one:1"),
		},
		"advertise by a name to look up": {
			minimal(`, "cluster": {"secretFile": "s", "bootstrapExpect": 3, "members": ["dns:zot.prod.svc:7373"]}`),
			inCluster(func(c *config.Config) {
				c.Cluster.SecretFile, c.Cluster.Advertise, c.Cluster.BootstrapExpect = "s", "zot-0.zot.prod.svc:7373", 3
			}, "dns:zot.prod.svc:7373"),
		},
		"advertise by node and port": {
			minimal(`, "cluster": {"secretFile": "s", "listen": ":7000", "members": ["10.0.0.1:7000"]}`),
			inCluster(func(c *config.Config) {
				c.Cluster.SecretFile, c.Cluster.Listen, c.Cluster.Advertise = "s", ":7000", "zot-0:7000"
			}, "10.0.0.1:7000"),
		},
		"every key of cluster": {
			minimal(`, "cluster": {"name": "prod", "node": "n", "zone": "a", "listen": "127.0.0.1:0", "advertise": "n:1", "members": "n:1",
				"bootstrapExpect": 1, "secretFile": "s", "tls": {"cert": "c", "key": "k", "ca": "a"}, "replicas": 5, "writeAcks": 4, "reads": "strict", "timing": "slow-disk",
				"trustedProxies": "10.0.0.7"}`),
			inCluster(func(c *config.Config) {
				c.Cluster = config.Cluster{
					Name: "prod", Node: "n", Zone: "a", Listen: "127.0.0.1:0", Advertise: "n:1", Members: []string{"n:1"},
					BootstrapExpect: 1, SecretFile: "s", TLS: config.TLS{Cert: "c", Key: "k", CA: "a"},
					Replicas: 5, WriteAcks: 4, Reads: "strict", Timing: "slow-disk",
					TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")},
				}
			}),
		},
		"one copy needs one acknowledgement": {
			minimal(`, "cluster": {"replicas": 1}`), inCluster(func(c *config.Config) { c.Cluster.Replicas, c.Cluster.WriteAcks = 1, 1 }),
		},
		"digits in quotes and fractions": {
			minimal(`, "cluster": {"replicas": "4", "writeAcks": 3.9}`), inCluster(func(c *config.Config) { c.Cluster.Replicas, c.Cluster.WriteAcks = 4, 3 }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := config.Parse("config.json", []byte(test.file), "zot-0")
			if err != nil {
				t.Fatal(err)
			}
			want := whole()
			test.want(&want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// A sub-path takes over no hints, and has its own.
func TestHintsOfSubPaths(t *testing.T) {
	t.Parallel()
	const bucket, table = `"storageDriver": {"name": "s3", "region": "r", "bucket": "b", "rootdirectory": "%s"}`, `"cacheDriver": {"name": "dynamodb", "region": "r", "cacheTablename": "%s"}`
	file := fmt.Sprintf(`"subPaths": {"/a": {`+bucket+`}, "/b": {`+bucket+`, `+table+`}, "/c": {`+bucket+`, "remoteCache": true, `+table+`}}, `+bucket+`, `+table,
		"a", "b", "of b", "c", "of c", "", "own")
	c, _, err := config.Parse("config.json", []byte(minimalStorage(file)), "zot-0")
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for _, s := range c.Storage.All() {
		if s.Hints == nil {
			tables = append(tables, "")
			continue
		}
		tables = append(tables, s.Hints.Table)
	}
	if want := []string{"own", "", "", "of c"}; !slices.Equal(tables, want) {
		t.Errorf("tables are %q, want %q", tables, want)
	}
}

// Every problem and note, in the words that people see.
func TestProblems(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, test := range []struct{ name, file string }{
		{"empty file", ""},
		{"no keys", `{}`},
		{"not JSON", "storage:\n  rootDirectory: /tmp/zot\n"},
		{"comment", "{\n  // where data goes\n  \"storage\": {}}"},
		{"text behind", minimal(``) + "\n see above"},
		{"ends early", `{"storage": {"rootDirectory":`},
		{"empty words", minimal(`, "cluster": {"name": "", "node": "", "listen": ""}`)},
		{"a list", `[1]`},
		{"too deep", strings.Repeat(`{"a":`, 100)},
		{"unknown sections", `{"storag": {}, "metrics": {}, "storage": {"rootDirectory": "/x"}}`},
		{"unknown keys", minimal(`, "http": {"foo": 1, "prot": "5000"}, "cluster": {"member": [], "tls": {"cart": ""}, "raft": {}}`)},
		{"no root directory", `{"http": {"port": "1"}}`},
		{"ports", minimal(`, "http": {"port": "65536"}, "cluster": {"listen": "7373", "advertise": "zot-0"}`)},
		{"port in words", minimal(`, "http": {"port": "http"}`)},
		{"port below zero", minimal(`, "http": {"port": -1}`)},
		{"log level", minimal(`, "log": {"level": "warning"}`)},
		{"rates", minimal(`, "http": {"ratelimit": {"rate": 0, "methods": [{"method": "get", "rate": -5}, {"rate": 5}, {"method": "PUSH", "rate": 5}, {"method": "PUT"}, {"method": "HEAD", "rate": "many"}]}}`)},
		{"origins", minimal(`, "http": {"allowOrigin": "https://ui.example, *, ui.example,https://ui.example/home"}`)},
		{"kinds", minimal(`, "http": 5000, "log": {"level": ["debug"]}, "cluster": {"members": {"a": 1}, "replicas": true, "writeAcks": "two", "zone": {}}`)},
		{"kinds in a list", minimal(`, "cluster": {"secretFile": "s", "members": ["zot-0:7373", 7373]}`)},
		{"spelled twice", minimal(`, "Storage": {"rootDirectory": "/y"}, "http": {"port": "1", "PORT": "2"}`)},
		{"names", minimal(`, "cluster": {"name": "my cluster", "node": "zot/0", "zone": "` + strings.Repeat("z", 129) + `"}`)},
		{"long name", minimal(`, "cluster": {"name": "` + strings.Repeat("n", 129) + `"}`)},
		{"addresses", minimal(`, "cluster": {"advertise": "zot 0:1", "listen": "0.0.0.0:99999", "secretFile": "s", "members": [":7373", "zot-1:0", "zot-2", "dns:zot"], "bootstrapExpect": 3}`)},
		{"no advertise", minimal(`, "cluster": {"listen": "127.0.0.1:0"}`)},
		{"expect with dns", minimal(`, "cluster": {"secretFile": "s", "members": ["dns:zot.svc:7373"]}`)},
		{"expect one with dns", minimal(`, "cluster": {"secretFile": "s", "members": ["dns:zot.svc:7373"], "bootstrapExpect": 1}`)},
		{"expect nobody", minimal(`, "cluster": {"bootstrapExpect": -1}`)},
		{"expect too many", minimal(`, "cluster": {"secretFile": "s", "members": ["zot-1:7373", "zot-2:7373"], "bootstrapExpect": 5}`)},
		{"expect two", minimal(`, "cluster": {"secretFile": "s", "members": ["zot-0:7373", "zot-1:7373"]}`)},
		{"no secret", minimal(`, "cluster": {"members": ["zot-0:7373", "zot-1:7373", "zot-2:7373"]}`)},
		{"half of tls", minimal(`, "cluster": {"tls": {"cert": "c"}}`)},
		{"copies", minimal(`, "cluster": {"replicas": 2, "writeAcks": 3}`)},
		{"no copies", minimal(`, "cluster": {"replicas": 0}`)},
		{"words", minimal(`, "cluster": {"reads": "avail", "timing": "turbo"}`)},
		{"zot's own cluster of one", minimal(`, "cluster": {"members": ["127.0.0.1:9000"], "hashKey": "loremipsumdolors"}`)},
		{"zot's own cluster", minimal(`, "cluster": {"members": ["zot-0:9000", "zot-1:9000", "zot-2:9000"], "hashKey": "loremipsumdolors"}`)},
		{"zot's own cluster with a CA", minimal(`, "cluster": {"members": ["zot-0:9000", "zot-1:9000", "zot-2:9000"], "hashKey": "loremipsumdolors", "tls": {"cacert": "test/data/ca.crt"}}`)},
		{"zot's own cluster with a secret", minimal(`, "cluster": {"members": ["zot-0:9000", "zot-1:9000", "zot-2:9000"], "hashKey": "loremipsumdolors", "secretFile": "s"}`)},
		{"keys that are not acted on", `{"distSpecVersion": "1.1.0", "commit": "c", "storage": {"rootDirectory": "/x", "GC": true, "subPaths": {}}, "http": {"auth": {"any": "thing"}}, "scheduler": {}, "log": {"audit": "/y"}}`},
		{"keys that are not acted on, with slips in them", `{"storage": {"rootDirectory": "/x", "storageDriver": {"name": "s3", "any": 1}, "subPaths": {"/a": {"rootDirectory": "/y", "gcDelai": "1h"}},
			"retention": {"policies": [{"repositories": ["**"], "keepTags": [{"pattern": [".*"]}]}]}},
			"http": {"auth": {"htpasswd": "/etc/htpasswd", "openid": {"providers": {"any": {"clientId": "i", "client": "i"}}}}, "accessControl": {"Groups": {"a": {"users": []}},
			"**": {"policies": [{"user": ["a"]}], "defaultPolicy": []}}, "ratelimit": {"rates": 1}},
			"extensions": {"sync": {"registries": [{"urls": [], "content": [{"tags": {"regexp": ""}}]}]}, "what": {}}}`},
		{"a provider that nobody knows", minimal(`, "http": {"auth": {"openid": {"providers": {"foo": {"clientid": "i", "issuer": "https://a.example", "scopes": ["openid"]}, "googel": {}}}}}`)},
		{"google without issuer", minimal(`, "http": {"auth": {"openid": {"providers": {"google": {"clientid": "i", "scopes": ["openid"]}}}}}`)},
		{"github without scopes", minimal(`, "http": {"auth": {"openid": {"providers": {"github": {"clientid": "i", "clientsecret": "s"}}}}}`)},
		{"providers that say too little", minimal(`, "http": {"auth": {"openid": {"providers": {"Dex": {}, "gitlab": {"scopes": []}, "oidc": {"credentialsFile": "/c", "scopes": "email"}}}}}`)},
		{"providers that say too much", minimal(`, "http": {"auth": {"openid": {"callbackAllowOrigins": ["https://pages.example/", "https://pages.example/a", "pages.example", "*"], "providers": {
			"github": {"clientid": "i", "scopes": ["user"], "issuer": "https://github.com", "claimMapping": {"username": "login"}, "authurl": "ftp://git.example"},
			"google": {"clientid": "i", "clientid ": "i", "scopes": ["email"], "issuer": "http://accounts.example", "clientsecret": "s", "keypath": "/k", "tokenurl": "https://me:hunter2@accounts.example/token"},
			"gitlab": {"clientid": "i", "credentialsFile": "/c", "scopes": ["openid"], "issuer": "http://127.0.0.1:1", "claimMapping": {"user": "sub"}, "name": "ours"}}}}}`)},
		{"a provider spelled twice", minimal(`, "http": {"auth": {"openid": {"providers": {"GitHub": {"clientid": "i", "scopes": ["user"]}, "github": {"clientid": "i", "scopes": ["user"]}}}}}`)},
		{"no providers", minimal(`, "http": {"auth": {"openid": {"providers": {}}}}`)},
		{"a bucket that says too little", minimalStorage(`"storageDriver": {"name": "s3"}`)},
		{"a bucket that says too much", minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b", "acceskey": "a", "secretkey": "s", "any": 1, "chunksize": 1, "v4auth": false, "keyid": "k"}`)},
		{"a bucket with a password", minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b", "regionendpoint": "https://user:hunter2@minio:9000"}`)},
		{"an archive", minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b", "storageclass": "deep_archive"}`)},
		{"drivers", `{"storage": {"rootDirectory": "/x", "redirectBlobURL": true, "storageDriver": {"name": "gcs", "any": 1}}}`},
		{"a driver that is none", minimalStorage(`"storageDriver": {"name": "s4"}`)},
		{"a driver without a name", minimalStorage(`"storageDriver": {"bucket": "b"}`)},
		{"a cache on a disk", minimalStorage(`"cacheDriver": {"name": "boltdb"}`)},
		{"a cache at redis", minimalStorage(`"remoteCache": true, "cacheDriver": {"name": "Redis", "url": "redis://localhost:6379", "keyprefix": "zot"}`)},
		{"a cache that nobody knows", minimalStorage(`"remoteCache": true, "cacheDriver": {"name": "dynamo"}`)},
		{"a remote cache for a directory", minimalStorage(`"remoteCache": true, "cacheDriver": {"name": "dynamodb", "region": "r", "cacheTablename": "t"}`)},
		{"a remote cache that is off", minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b"}, "remoteCache": false, "cacheDriver": {"name": "dynamodb", "cacheTablename": "t"}`)},
		{"a remote cache without a table", minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b"}, "cacheDriver": {"name": "dynamodb", "region": "r", "cacheTable": "t"}`)},
		{"a remote cache that says too little", minimalStorage(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b"}, "cacheDriver": {"name": "dynamodb", "endpoint": "localhost:8000", "cacheTablename": "t"}`)},
		{"copies in a bucket", `{"storage": {"rootDirectory": "/x", "storageDriver": {"name": "s3", "region": "r", "bucket": "b"}}, "cluster": {"replicas": 2}}`},
		{"storage", minimalStorage(`"dedupe": "perhaps", "gc": {}, "gcDelay": "1d", "gcInterval": "300", "commit": [], "remoteCache": "yes"`)},
		{"below zero", minimalStorage(`"gcDelay": "-1s", "gcInterval": -1`)},
		{"durations", minimalStorage(`"gcDelay": "two hours", "gcInterval": true`)},
		{"long durations", minimalStorage(`"gcDelay": "100000h", "gcInterval": 1e30`)},
		{"weeks", minimalStorage(`"gcDelay": "2w", "gcInterval": ""`)},
		{"short durations", minimalStorage(`"gcDelay": 300, "gcInterval": 10`)},
		{"a lease that not every push will keep to", minimalStorage(`"gcDelay": "20m", "gcInterval": "0s"`)},
		{"gc is off", minimalStorage(`"gc": false, "dedupe": false, "gcInterval": "1h", "cacheDriver": {}`)},
		{"address with a port", minimal(`, "http": {"address": "0.0.0.0:5000"}`)},
		{"two listeners", minimal(`, "http": {"address": "::", "port": "7373"}, "cluster": {}`)},
		{"two listeners, the first of all addresses", minimal(`, "http": {"address": "0.0.0.0", "port": "7000"}, "cluster": {"listen": "127.0.0.1:7000"}`)},
		{"two listeners of one address", minimal(`, "http": {"address": "127.0.0.1", "port": "7000"}, "cluster": {"listen": "127.0.0.1:7000"}`)},
		{"two listeners of two addresses, or of any port", minimal(`, "http": {"address": "127.0.0.2", "port": "7000"}, "cluster": {"listen": "127.0.0.1:7000"}`)},
		{"half of http.tls", minimal(`, "http": {"tls": {"cert": "c"}}`)},
		{"only the CA of http.tls", minimal(`, "http": {"tls": {"cacert": "c"}}`)},
		{"kinds of http.tls", minimal(`, "http": {"tls": {"cert": ["c"], "keyFile": "k"}}`)},
		{"scrub", minimal(`, "extensions": {"scrub": {"interval": "10m", "intervall": 1}}`)},
		{"LDAP without anything", minimal(`, "http": {"auth": {"ldap": {}}}`)},
		{"LDAP without an address", minimal(`, "http": {"auth": {"ldap": {"baseDN": "dc=org", "userAttribute": "uid"}}}`)},
		{"LDAP without a baseDN", minimal(`, "http": {"auth": {"ldap": {"address": "l", "userAttribute": "uid"}}}`)},
		{"LDAP without a userAttribute", minimal(`, "http": {"auth": {"ldap": {"address": "l", "baseDN": "dc=org"}}}`)},
		{"LDAP with slips", minimal(`, "http": {"auth": {"ldap": {"address": "ldap://l:389", "port": 65536, "baseDN": "Users", "userAttribute": "(uid=", "userGroupAttribute": "member of",
			"userFilter": "(a=b", "bindDn": "cn=a", "bindPasword": "hunter2", "bind": 1}}}`)},
		{"LDAP with a password of nobody's", minimal(`, "http": {"auth": {"ldap": {"address": "l", "baseDN": "dc=org", "userAttribute": "uid", "bindPassword": "hunter2"}}}`)},
		{"LDAP with two accounts", minimal(`, "http": {"auth": {"ldap": {"address": "l", "baseDN": "dc=org", "userAttribute": "uid", "bindDN": "cn=a", "bindPassword": "hunter2", "credentialsFile": "f"}}}`)},
		{"LDAP in the clear", minimal(`, "http": {"auth": {"ldap": {"address": "l", "baseDN": "dc=org", "userAttribute": "uid", "insecure": true, "skipVerify": true}}}`)},
		{"LDAP as in zot's page", minimal(`, "http": {"auth": {"ldap": {"address": "l", "port": 389, "startTLS": true, "baseDN": "dc=org", "userAttribute": "uid", "skipVerify": true}}}`)},
		{"proxies", minimal(`, "cluster": {"trustedProxies": ["10.0.0.0/33", "haproxy", "::1"]}`)},
		{"API keys that nobody can make", minimal(`, "http": {"auth": {"apikey": true}}, "extensions": {"apikey": {"enabled": true}}`)},
		{"API keys", minimal(`, "http": {"auth": {"htpasswd": {"path": "p"}, "apikey": "yes"}}, "extensions": {"apikey": {}}`)},
		{"half of bearer", minimal(`, "http": {"auth": {"bearer": {"realm": "auth.example", "cert": "c"}}}`)},
		{"bearer, and others", minimal(`, "http": {"auth": {"bearer": {"realm": "https://a", "service": "s", "cert": "c", "awsSecretsManager": {"region": "r"}, "upstreamTokenEndpoint": {}, "oidc": []},
			"ldap": {"address": "l", "baseDN": "dc=org", "userAttribute": "uid"}, "htpasswd": {"path": "p"}, "openid": {"providers": {}}, "apikey": true, "mtls": {}}, "accessControl": {}}`)},
		{"bearer with slips", minimal(`, "http": {"auth": {"bearer": {"realms": "a", "oidc": [{"issuer": "issuer.example", "audience": ["a"], "skipIssuerVerification": true, "certificateAuthority": "x"},
			{"issuer": "http://i", "audiences": ["a"], "certificateAuthority": "x", "certificateAuthorityFile": "f", "claimMapping": {"username": "claim.sub", "groups": "1", "name": "n",
			"variables": [{"expression": "claims."}], "validations": [{"expression": "'a'"}]}}, {}]}}}`)},
		{"keys in a secret", minimal(`, "http": {"auth": {"bearer": {"realm": "https://a", "service": "s", "awsSecretsManager": {"region": "r", "secretName": "n", "refreshInterval": "10ms"},
			"upstreamTokenEndpoint": {"realm": "https://u", "service": "s"}}}}`)},
		{"half of a secret", minimal(`, "http": {"auth": {"bearer": {"service": "s", "awsSecretsManager": {"secretname": "n", "refreshInterval": "-1s", "arn": 1}}}}`)},
		{"another token service without keys", minimal(`, "http": {"auth": {"bearer": {"realm": "https://r/zot/auth/token", "awsSecretsManager": {"region": "r", "secretName": "n"}, "oidc": {"issuer": "https://i", "audiences": ["a"]},
			"upstreamTokenEndpoint": {"realm": "http://u", "service": "s", "allowInsecureHttp": true}}, "openid": {"providers": {"dex": {"issuer": "https://d", "clientid": "c", "scopes": ["openid"]}}}}}`)},
		{"another token service that is none", minimal(`, "http": {"auth": {"bearer": {"realm": "https://r/zot/auth/token", "service": "s", "cert": "c", "oidc": {"issuer": "https://i", "audiences": ["a"], "skipIssuerVerification": 1},
			"upstreamTokenEndpoint": {"realm": "https://r/zot/auth/token", "services": "s"}}}}`)},
		{"another token service that is none, in capitals", minimal(`, "http": {"auth": {"bearer": {"realm": "https://r/zot/auth/token", "service": "s", "cert": "c", "oidc": {"issuer": "https://i", "audiences": ["a"]},
			"upstreamTokenEndpoint": {"realm": "https://R:443/zot/auth/token?a=b", "service": "s"}}}}`)},
		{"another token service at the same host", minimal(`, "http": {"auth": {"bearer": {"realm": "https://r/zot/auth/token", "service": "s", "cert": "c", "oidc": {"issuer": "https://i", "audiences": ["a"]},
			"upstreamTokenEndpoint": {"realm": "https://r:8443/zot/auth/token", "service": "s"}}}}`)},
		{"another token service, with a password", minimal(`, "http": {"auth": {"bearer": {"upstreamTokenEndpoint": {"realm": "https://a:hunter2@u/token", "service": "s"}}}}`)},
		{"another token service, in the clear", minimal(`, "http": {"auth": {"bearer": {"upstreamTokenEndpoint": {"realm": "http://u/token", "service": "s", "allowInsecureHttp": false}}}}`)},
		{"a certificate for an issuer", minimal(`, "http": {"auth": {"bearer": {"cert": "c", "oidc": {"issuer": "https://i", "audiences": ["a"]}}}}`)},
		{"mtls", minimal(`, "http": {"auth": {"mtls": {"identityAttributes": ["CN", "SerialNumber"], "uriSanPattern": "spiffe://(", "uriSanIndex": -1, "dnsSanIndex": -2, "emailSanIndex": "x"}}}`)},
		{"mtls without a group", minimal(`, "http": {"tls": {"cert": "c", "key": "k", "cacert": "a"}, "auth": {"mtls": {"identityAttributes": [], "uriSanPattern": "[a-z]+"}}}`)},
		{"conditions", minimal(`, "http": {"auth": {"htpasswd": {"path": "p"}}, "accessControl": {"repositories": {"a/*": {"policies": [{"users": ["a"]}, {"users": ["b"], "actions": ["read"],
			"conditions": [{"expression": "true"}, {"expression": "req.repo == 'a' &&"}, {"message": "m"}, {"expression": "req.tag"}, {"expr": "true", "expression": "req.repo == 'a' || req.tga == 'b'"}]}]}},
			"adminPolicy": {"users": ["c"], "conditions": [{"expression": "1"}]}, "metrics": {"users": "prometheus", "anonymousPolicy": ["write"], "groups": []}}}`)},
		{"nobody can log in", minimal(`, "http": {"accessControl": {"**": {"defaultPolicy": ["read"]}}}`)},
		{"sessions", minimal(`, "http": {"auth": {"sessionKeysFile": "f", "sessionDriver": {"name": "redis"}, "secureSession": 2}}`)},
		{"external URL", minimal(`, "http": {"externalUrl": "registry.example:5000"}`)},
		{"notes on values", minimal(`, "http": {"port": "1", "port": "2"}, "cluster": {"replicas": 3.5}`)},
	} {
		_, notes, err := config.Parse("config.json", []byte(test.file), "zot-0")
		fmt.Fprintf(&b, "== %s\n", test.name)
		for _, n := range notes {
			fmt.Fprintf(&b, "note %s: %s\n", n.Key, n.Text)
		}
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	golden(t, "problems.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; -update rewrites it. Got:\n%s", path, got)
	}
}

// Every example of zot's loads, and whatever is not acted on is noted.
func TestLoadExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../test/testdata/zot-examples/config-*.*")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		c, _, err := config.Load(file)
		if err != nil || c.Storage.RootDirectory != "/tmp/zot" || !c.Cluster.Alone {
			t.Errorf("%s: %v as %+v", file, err, c)
		}
	}
	for node := 1; node <= 3; node++ {
		file := fmt.Sprintf("../../../deploy/local/node%d.json", node)
		if _, notes, err := config.Load(file); err != nil || len(notes) > 0 {
			t.Errorf("%s: %v %v", file, notes, err)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	t.Parallel()
	if _, _, err := config.Load(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a file that is not there was loaded")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("c.json", []byte(minimal(`, "cluster": {"members": ["a:1", "dns:b:2"], "replicas": 3.5, "hashKey": "x"}`)))
	f.Add("c.json", []byte(`{"storage": {"rootDirectory": null}, "http": [1, {"a": {}}], "HTTP": 1}`))
	f.Add("c.json", []byte("{// \n"))
	f.Add("c.yaml", []byte("a: &a {rootDirectory: /r, gcDelay: 1e3}\nstorage: {<<: *a, ? b : 0o7}\nhttp: {port: .inf}\n"))
	f.Add("c.toml", []byte("[storage]\nrootDirectory = '/r'\n[[http.ratelimit.methods]]\nrate = 1979-05-27\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		c, _, err := config.Parse(name, data, "zot-0")
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		if c.Storage.RootDirectory == "" || c.Storage.GCDelay < 0 || c.Cluster.Advertise == "" || c.Cluster.WriteAcks < 1 || c.Cluster.BootstrapExpect < 1 {
			t.Errorf("accepted as %+v", c)
		}
	})
}

func rules(repositories map[string]access.Repository) *access.Config {
	return &access.Config{Repositories: repositories, Groups: map[string][]string{}}
}
