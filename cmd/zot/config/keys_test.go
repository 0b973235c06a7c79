package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// zotKeys is each key that zot has (docs/design/compat.md, sections 2, 7 and 11), with a value, and what else it
// wants in the file.
func zotKeys() [][]string {
	const bucket = `storage.storageDriver={"name":"s3","region":"r","bucket":"b"}`
	const table = `storage.cacheDriver={"name":"dynamodb","region":"r","cacheTablename":"t"}`
	const ldap = `http.auth.ldap={"address":"l","baseDN":"dc=org","userAttribute":"uid"}`
	const login = `http.auth.htpasswd.path="p"`
	const policies, rules = `storage.retention.policies=[{"repositories":["**"],"keepTags":[{%s}]}]`, `storage.retention.policies=[{"repositories":["**"],%s}]`
	const subPath = `storage.subPaths./a={"rootDirectory":"/a","gc":true,%s}`
	const upstream, content = `extensions.sync.registries=[{"urls":["u"],%s}]`, `extensions.sync.registries=[{"urls":["u"],"content":[{"prefix":"/a/**",%s}]}]`
	const policy, admin = `http.accessControl.repositories.**={"policies":[{%s}]}`, `http.accessControl.adminPolicy={%s}`
	const sink = `extensions.events.sinks=[{"type":"http",%s}]`
	return [][]string{
		{`distSpecVersion="1.1.1"`},
		{`distSpecVersion="1.1.0-dev"`},
		{`goVersion="go1.20"`},
		{`commit="c"`},
		{`releaseTag="v2.1.0"`},
		{`binaryType="full"`},
		{`$schema="zot.schema.json"`},
		{`http.address="::1"`},
		{`http.port="5000"`},
		{`http.realm="zot"`},
		{`http.tls={"cert":"c","key":"k"}`},
		{`http.tls={"cert":"c","key":"k","cacert":"a"}`},
		{`http.allowOrigin="https://a.example,https://b.example"`},
		{`http.ratelimit.rate=10`},
		{`http.ratelimit={"rate":10,"methods":[{"method":"GET","rate":5}]}`},
		{`http.externalUrl="https://registry.example"`},
		{`http.compat=["docker2s2"]`},
		{`http.readTimeout="2h"`},
		{`http.writeTimeout="2h"`},
		{`log.level="info"`},
		{`log.output="/dev/null"`},
		{`log.audit="/dev/null"`},
		{`scheduler.numWorkers=3`},

		{`storage.rootDirectory="/r"`},
		{`storage.dedupe=true`},
		{`storage.gc=true`},
		{`storage.gcDelay="2h"`},
		{`storage.gcInterval="2h"`},
		{`storage.commit=true`},
		{`storage.remoteCache=true`, bucket, table},
		{bucket},
		{table, bucket},
		{`storage.gcTimeWindow="22:00-06:00"`},
		{`storage.maxRepos=10`},
		{`storage.redirectBlobURL=true`, bucket},
		{`storage.fastRestart=true`},
		{`storage.gcMaxSchedulerDelay="1m"`},
		{fmt.Sprintf(subPath, `"dedupe":true`)},
		{fmt.Sprintf(subPath, `"gcDelay":"2h"`)},
		{fmt.Sprintf(subPath, `"gcInterval":"2h"`)},
		{fmt.Sprintf(subPath, `"commit":true`)},
		{fmt.Sprintf(subPath, `"gcTimeWindow":"22:00-06:00"`)},
		{fmt.Sprintf(subPath, `"maxRepos":1`)},
		{fmt.Sprintf(subPath, `"fastRestart":true`)},
		{fmt.Sprintf(subPath, `"gcMaxSchedulerDelay":"1m"`)},
		{fmt.Sprintf(subPath, `"retention":{"policies":[{"repositories":["a/**"]}]}`)},
		{fmt.Sprintf(subPath, `"redirectBlobURL":true,"storageDriver":{"name":"s3","region":"r","bucket":"b"}`)},
		{fmt.Sprintf(subPath, `"remoteCache":true,"storageDriver":{"name":"s3","region":"r","bucket":"b"},"cacheDriver":{"name":"dynamodb","region":"r","cacheTablename":"t"}`)},
		{`storage.retention.dryRun=true`},
		{`storage.retention.delay="24h"`},
		{fmt.Sprintf(rules, `"deleteReferrers":true`)},
		{fmt.Sprintf(rules, `"deleteUntagged":true`)},
		{fmt.Sprintf(policies, `"patterns":["v2.*"]`)},
		{fmt.Sprintf(policies, `"pulledWithin":"24h"`)},
		{fmt.Sprintf(policies, `"pushedWithin":"24h"`)},
		{fmt.Sprintf(policies, `"mostRecentlyPushedCount":10`)},
		{fmt.Sprintf(policies, `"mostRecentlyPulledCount":10`)},
		{fmt.Sprintf(rules, `"keepUntagged":{"pulledWithin":"24h"}`)},
		{fmt.Sprintf(rules, `"keepUntagged":{"pushedWithin":"24h"}`)},
		{fmt.Sprintf(rules, `"keepUntagged":{"mostRecentlyPushedCount":1}`)},
		{fmt.Sprintf(rules, `"keepUntagged":{"mostRecentlyPulledCount":1}`)},

		{`storage.storageDriver.regionendpoint="localhost:9000"`, bucket},
		{`storage.storageDriver.rootdirectory="/zot"`, bucket},
		{`storage.storageDriver={"name":"s3","region":"r","bucket":"b","accesskey":"a","secretkey":"s"}`},
		{`storage.storageDriver.sessiontoken="t"`, bucket},
		{`storage.storageDriver.secure=true`, bucket},
		{`storage.storageDriver.skipverify=true`, bucket},
		{`storage.storageDriver.v4auth=true`, bucket},
		{`storage.storageDriver={"name":"s3","region":"r","bucket":"b","encrypt":true,"keyid":"k"}`},
		{`storage.storageDriver.chunksize=20971520`, bucket},
		{`storage.storageDriver.multipartcopychunksize=33554432`, bucket},
		{`storage.storageDriver.multipartcopymaxconcurrency=100`, bucket},
		{`storage.storageDriver.multipartcopythresholdsize=33554432`, bucket},
		{`storage.storageDriver.storageclass="STANDARD"`, bucket},
		{`storage.storageDriver.objectacl="private"`, bucket},
		{`storage.storageDriver.useragent="u"`, bucket},
		{`storage.storageDriver.usedualstack=true`, bucket},
		{`storage.storageDriver.accelerate=true`, bucket},
		{`storage.storageDriver.loglevel="off"`, bucket},
		{`storage.storageDriver.forcepathstyle=true`, bucket},
		{`storage.storageDriver.any=1`, bucket},
		{`storage.storageDriver={"name":"gcs","bucket":"b"}`},
		{`storage.storageDriver={"name":"azure","accountname":"a","container":"c","credentials":{"type":"shared_key"}}`},
		{`storage.cacheDriver.endpoint="http://localhost:8000"`, bucket, table},
		{`storage.cacheDriver.repoMetaTablename="t"`, bucket, table},
		{`storage.cacheDriver.manifestDataTablename="t"`, bucket, table},
		{`storage.cacheDriver.indexDataTablename="t"`, bucket, table},
		{`storage.cacheDriver.imageMetaTablename="t"`, bucket, table},
		{`storage.cacheDriver.repoBlobsInfoTablename="t"`, bucket, table},
		{`storage.cacheDriver.userDataTablename="t"`, bucket, table},
		{`storage.cacheDriver.apiKeyTablename="t"`, bucket, table},
		{`storage.cacheDriver.versionTablename="t"`, bucket, table},
		{`storage.cacheDriver={"name":"redis","url":"redis://h:1","keyprefix":"zot"}`},
		{`storage.cacheDriver={"name":"redis","addr":["h:1"],"master_name":"m","username":"u"}`},

		{`http.auth.failDelay=5`},
		{login},
		{ldap},
		{`http.auth.ldap.port=636`, ldap},
		{`http.auth.ldap={"address":"l","baseDN":"dc=org","userAttribute":"uid","bindDN":"cn=a","bindPassword":"p"}`},
		{`http.auth.ldap.credentialsFile="f"`, ldap},
		{`http.auth.ldap.userGroupAttribute="memberOf"`, ldap},
		{`http.auth.ldap.insecure=true`, ldap},
		{`http.auth.ldap.startTLS=true`, ldap},
		{`http.auth.ldap.skipVerify=true`, ldap},
		{`http.auth.ldap.cacert="c"`, ldap},
		{`http.auth.ldap.subtreeSearch=true`, ldap},
		{`http.auth.ldap.userFilter="(a=b)"`, ldap},
		{`http.auth.apikey=true`, login},
		{`http.auth.sessionKeysFile="f"`},
		{`http.auth.sessionDriver={"name":"local"}`},
		{`http.auth.secureSession=true`},
		{`http.auth.bearer={"realm":"https://auth.example/token","service":"zot","cert":"/c.pem"}`},
		{`http.auth.bearer={"realm":"https://r.example/zot/auth/token","oidc":[{"issuer":"https://i.example","audiences":["zot"],"claimMapping":{"username":"claims.sub","groups":"claims.groups"},"certificateAuthorityFile":"f"}]}`},
		{`http.auth.bearer={"realm":"https://auth.example/token","service":"zot","awsSecretsManager":{"region":"r","secretName":"n"}}`},
		{`http.auth.bearer={"realm":"https://auth.example/token","service":"zot","awsSecretsManager":{"region":"r","secretName":"n","refreshInterval":"5m"}}`},
		{`http.auth.bearer={"realm":"https://auth.example/token","service":"zot","cert":"/c.pem","oidc":[{"issuer":"https://i.example","audiences":["zot"],"skipIssuerVerification":true}],"upstreamTokenEndpoint":{"realm":"https://auth.example/token","service":"s"}}`},
		{`http.auth.bearer={"realm":"https://auth.example/token","service":"zot","cert":"/c.pem","oidc":[{"issuer":"https://i.example","audiences":["zot"]}],"upstreamTokenEndpoint":{"realm":"http://auth.example/token","service":"s","allowInsecureHttp":true}}`},
		{`http.auth.openid.providers.google={"clientid":"c","clientsecret":"s","issuer":"https://accounts.google.com","scopes":["openid"],"keypath":"k"}`},
		{`http.auth.openid.providers.gitlab={"clientid":"c","issuer":"https://gitlab.com","scopes":["openid"]}`},
		{`http.auth.openid.providers.dex={"clientid":"c","issuer":"https://dex.example","scopes":["openid"]}`},
		{`http.auth.openid.providers.oidc={"name":"n","clientid":"c","issuer":"https://dex.example","scopes":["openid"],"claimMapping":{"username":"u","groups":"g"}}`},
		{`http.auth.openid.providers.oidc={"credentialsFile":"f","issuer":"https://dex.example","scopes":["openid"]}`},
		{`http.auth.openid.providers.github={"clientid":"c","scopes":["user"],"authurl":"https://github.example/a","tokenurl":"https://github.example/t"}`},
		{`http.auth.openid.callbackAllowOrigins=["https://ui.example"]`, `http.auth.openid.providers.github={"clientid":"c","scopes":["user"]}`},
		{`http.auth.mtls={"identityAttributes":["CN"]}`},
		{`http.auth.mtls={"identityAttributes":["URI"],"uriSanPattern":"spiffe://(.*)","uriSanIndex":1}`},
		{`http.auth.mtls={"dnsSanIndex":1}`},
		{`http.auth.mtls={"emailSanIndex":1}`},

		{fmt.Sprintf(policy, `"users":["alice"],"actions":["read"]`), login},
		{fmt.Sprintf(policy, `"groups":["devs"],"actions":["create","update","delete","detectManifestCollision"]`), login},
		{`http.accessControl.repositories.**.defaultPolicy=["read"]`, login},
		{`http.accessControl.repositories.**.anonymousPolicy=["read"]`},
		{`http.accessControl.**.anonymousPolicy=["read"]`},
		{fmt.Sprintf(admin, `"users":["root"],"groups":["admins"],"actions":["read"]`), login},
		{`http.accessControl.groups.devs.users=["bob"]`, login},
		{`http.accessControl.metrics={"users":["prometheus"],"anonymousPolicy":["read"]}`, login},
		{fmt.Sprintf(policy, `"users":["alice"],"actions":["read"],"conditions":[{"expression":"req.tls","message":"m"}]`), login},
		{fmt.Sprintf(admin, `"users":["root"],"actions":["read"],"conditions":[{"expression":"req.tls"}]`), login},

		{`extensions.metrics={"enable":true,"prometheus":{"path":"/metrics"}}`},
		{`extensions.scrub={"enable":true,"interval":"24h"}`},
		{`extensions.mgmt.enable=true`},
		{`extensions.apikey.enable=true`, login},
		{`extensions.userprefs={}`},
		{`extensions.search={"enable":true}`},
		{`extensions.search.cve.updateInterval="24h"`},
		{`extensions.search.cve.trivy={"dbRepository":"r/a","javaDBRepository":"r/b"}`},
		{`extensions.search.cve.trivy.vulnSeveritySources=["auto"]`},
		{`extensions.search.cve.trivy.sbom={"enable":true,"format":"spdx"}`},
		{`extensions.search.cve.vulnSeveritySources=["auto"]`},
		{`extensions.search.cve.sbom={"enable":true,"format":"spdx"}`},
		{`extensions.ui.enable=true`, `extensions.search={}`},
		{`extensions.lint.mandatoryAnnotations=["a"]`},
		{`extensions.trust={"cosign":true,"notation":true}`},
		{fmt.Sprintf(sink, `"address":"http://a","channel":"c","timeout":"5s","headers":{"Any":"thing"},"proxy":"http://p"`)},
		{fmt.Sprintf(sink, `"credentials":{"username":"u","password":"p","token":"t","file":"f"}`)},
		{fmt.Sprintf(sink, `"tlsConfig":{"caCertFile":"a","certFile":"c","keyFile":"k"}`)},
		{fmt.Sprintf(sink, `"username":"u","password":"p","token":"t","file":"f","caCertFile":"a","certFile":"c","keyFile":"k"`)},

		{`extensions.sync.credentialsFile="f"`},
		{`extensions.sync.downloadDir="/tmp"`},
		{fmt.Sprintf(upstream, `"onDemand":true`)},
		{fmt.Sprintf(upstream, `"pollInterval":"1h"`)},
		{fmt.Sprintf(upstream, `"tlsVerify":false`)},
		{fmt.Sprintf(upstream, `"certDir":"/c"`)},
		{fmt.Sprintf(upstream, `"maxRetries":3,"retryDelay":"1m","maxRetryDelay":"5m"`)},
		{fmt.Sprintf(upstream, `"onlySigned":true`)},
		{fmt.Sprintf(upstream, `"onDemand":true,"manifestCheckInterval":"1h"`)},
		{fmt.Sprintf(upstream, `"preserveDigest":true`)},
		{fmt.Sprintf(upstream, `"syncTimeout":"1h"`)},
		{fmt.Sprintf(upstream, `"syncLegacyCosignTags":false`)},
		{fmt.Sprintf(upstream, `"reqConcurrent":3`)},
		{fmt.Sprintf(upstream, `"reqPerSec":3`)},
		{fmt.Sprintf(upstream, `"disableHTTP2":true`)},
		{fmt.Sprintf(upstream, `"maxIdleConnsPerHost":3`)},
		{fmt.Sprintf(upstream, `"credentialHelper":"ecr"`)},
		{fmt.Sprintf(upstream, `"credentialHelper":"oauth2","oauth2CredentialHelper":{"tokenURL":"u","assertionFile":"f","grantType":"g","audience":"a","scopes":["s"]}`)},
		{fmt.Sprintf(content, `"destination":"/","stripPrefix":true`)},
		{fmt.Sprintf(content, `"tags":{"regex":"4.*","semver":true,"excludeRegex":"rc"}`)},

		{`cluster={"members":["127.0.0.1:9000"],"hashKey":"loremipsumdolors","tls":{"cert":"c","key":"k","cacert":"a"}}`},
		{`cluster={"members":["a:9000","b:9000","c:9000"],"hashKey":"loremipsumdolors"}`},
	}
}

// Every key of zot's is taken, and what is said of it is this.
func TestZotKeys(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	var b strings.Builder
	for _, settings := range zotKeys() {
		file := map[string]any{"storage": map[string]any{"rootDirectory": "/var/lib/zot"}}
		for i := range settings {
			set(t, file, settings[len(settings)-1-i]) // the key itself last: it may be in what it needs
		}
		data, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", settings[0])
		_, notes, err := config.Parse("c.json", data, "zot-0")
		for _, n := range notes {
			fmt.Fprintf(&b, "    %s: %s\n", n.Key, n.Text)
		}
		problems, _ := errors.AsType[config.Problems](err)
		for _, p := range problems {
			if !p.Serving {
				t.Errorf("%s: %s", settings[0], p)
			}
			fmt.Fprintf(&b, "    not served: %s\n", p)
		}
		if err := s.Validate(contents(t, ".json", data)); err != nil {
			t.Errorf("%s: the schema: %v", settings[0], err)
		}
	}
	golden(t, "keys.golden", b.String())
}

// set puts "a.b.c=value" into a file.
func set(t *testing.T, file map[string]any, setting string) {
	t.Helper()
	path, text, ok := strings.Cut(setting, "=")
	var value any
	if err := json.Unmarshal([]byte(text), &value); !ok || err != nil {
		t.Fatalf("%s: %v", setting, err)
	}
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		if _, is := file[key].(map[string]any); !is {
			file[key] = map[string]any{}
		}
		file = file[key].(map[string]any) //nolint:forcetypeassert // as made above
	}
	file[keys[len(keys)-1]] = value
}
