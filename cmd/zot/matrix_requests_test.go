package main

import (
	"net/url"
	"slices"
	"strings"
)

// What signatures may be believed by.
const (
	matrixKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOftR5G7KdW+7uWlfHr2SVcpJggyn
UYgZcNIwNf6IaWaGQywuaOoFC+4icjDExEB5uTmYpNrQpRGjZo9iGhuJ2Q==
-----END PUBLIC KEY-----
`
	matrixCertificate = `-----BEGIN CERTIFICATE-----
MIIB/jCCAaWgAwIBAgIUJhzyWZXh4tscJgkoC3jmeZW1p+cwCgYIKoZIzj0EAwIw
TDETMBEGA1UEAwwKRXhhbXBsZSBDQTEQMA4GA1UECgwHRXhhbXBsZTELMAkGA1UE
BhMCREUxCjAIBgNVBAgMAUIxCjAIBgNVBAcMAUIwIBcNMjYxMTI4MTgzMDEwWhgP
MjEyNjExMDQxODMwMTBaMEwxEzARBgNVBAMMCkV4YW1wbGUgQ0ExEDAOBgNVBAoM
B0V4YW1wbGUxCzAJBgNVBAYTAkRFMQowCAYDVQQIDAFCMQowCAYDVQQHDAFCMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOftR5G7KdW+7uWlfHr2SVcpJggynUYgZ
cNIwNf6IaWaGQywuaOoFC+4icjDExEB5uTmYpNrQpRGjZo9iGhuJ2aNjMGEwHQYD
VR0OBBYEFOhPMo4NIj2dksVGzmV/WFRGCRHjMB8GA1UdIwQYMBaAFOhPMo4NIj2d
ksVGzmV/WFRGCRHjMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMAoG
CCqGSM49BAMCA0cAMEQCIACWgjfIgcw4hVlWrJKo2ORXS8SGQeQUqDJ+/Tl/+hbt
AiAfJKR6CKnDm5xKuZGG/cadyJMQOdiENByDMA0IsfnhxA==
-----END CERTIFICATE-----
`
)

// matrixRequest is something that can be asked of a node, and what it takes to be granted: written down by reading
// COMPAT.md, sections 4 to 6 and 9, and docs/access.md where it says that we differ.
type matrixRequest struct {
	endpoint string // its constant in api/routes.go, or its path in api/ext
	method   string
	what     string // what tells it from others of the endpoint and method; "" if there are none

	// needs are letters as in grants, of which all are needed; or of any of several. It is for requests that are about a
	// repository.
	needs []string
	// admin is a letter of what the policy for administrators has to grant.
	admin string
	// want is the status for each identity where people can log in and nothing is granted to nobody in particular; for
	// requests that are not about a repository.
	want map[string]int
	// open is the status for who gives no name where something is granted to everybody, silent that for all where nobody can
	// log in, and provided that for all where people log in by a provider; 0 for those of an identity.
	open, silent, provided int

	ok   int // the status if it is granted
	send func(c *cell) sending
}

// sending is a request without who sends it.
type sending struct {
	path, body  string
	contentType string
	header      map[string]string
	form        url.Values // instead of a body; credentials stand in it
}

// statuses gives a status to each identity of a list.
func statuses(lists map[int][]string) map[string]int {
	all := map[string]int{}
	for status, names := range lists {
		for _, name := range names {
			all[name] = status
		}
	}
	return all
}

// matrixRequests are all requests of the matrix.
func matrixRequests() []matrixRequest {
	return slices.Concat(specRequests(), extensionRequests(), administrativeRequests())
}

// specRequests are those of the distribution specification.
func specRequests() []matrixRequest {
	who := matrixNames()
	anybody := statuses(map[int][]string{
		200: slices.Concat(who.owners, who.keys, who.own, who.foreign, who.workloads),
		401: slices.Concat(who.nobody, who.refused, who.unknown, who.uncertified),
	})
	lists := statuses(map[int][]string{
		200: slices.Concat(who.owners, who.keys, []string{"token"}, who.foreign, who.workloads),
		401: slices.Concat(who.nobody, who.refused, who.unknown, who.uncertified, []string{"token to pull"}), // a list takes a token of ours for it
	})
	at := func(path string) func(c *cell) sending {
		return func(c *cell) sending { return sending{path: c.in(path)} }
	}
	const read, create, update, remove = "r", "c", "u", "d"
	return []matrixRequest{
		{endpoint: "endpointBase", method: "GET", want: anybody, silent: 200, send: func(*cell) sending { return sending{path: "/v2/"} }},
		{endpoint: "endpointBase", method: "HEAD", want: anybody, silent: 200, send: func(*cell) sending { return sending{path: "/v2/"} }},
		{endpoint: "endpointCatalog", method: "GET", what: "all", want: lists, open: 200, silent: 200, send: func(*cell) sending { return sending{path: "/v2/_catalog"} }},
		{endpoint: "endpointCatalog", method: "GET", what: "pages", want: lists, open: 200, silent: 200, send: func(*cell) sending { return sending{path: "/v2/_catalog?n=1"} }},
		{endpoint: "endpointCatalog", method: "HEAD", want: lists, open: 200, silent: 200, send: func(*cell) sending { return sending{path: "/v2/_catalog"} }},

		{endpoint: "endpointTags", method: "GET", needs: []string{read}, ok: 200, send: at("tags/list")},
		{endpoint: "endpointTags", method: "HEAD", needs: []string{read}, ok: 200, send: at("tags/list")},
		{endpoint: "endpointReferrers", method: "GET", needs: []string{read}, ok: 200, send: func(c *cell) sending { return sending{path: c.in("referrers/" + c.fixed)} }},
		{endpoint: "endpointReferrers", method: "HEAD", needs: []string{read}, ok: 200, send: func(c *cell) sending { return sending{path: c.in("referrers/" + c.fixed)} }},

		{endpoint: "endpointBlob", method: "GET", needs: []string{read}, ok: 200, send: func(c *cell) sending { return sending{path: c.in("blobs/" + c.config)} }},
		{endpoint: "endpointBlob", method: "HEAD", needs: []string{read}, ok: 200, send: func(c *cell) sending { return sending{path: c.in("blobs/" + c.config)} }},
		{endpoint: "endpointBlob", method: "DELETE", needs: []string{remove}, ok: 202, send: func(c *cell) sending {
			if !c.granted {
				return sending{path: c.in("blobs/" + c.loose)}
			}
			return sending{path: c.in("blobs/" + c.blob(c.repository, "loose "+c.tag))}
		}},

		{endpoint: "endpointManifest", method: "GET", what: "tag", needs: []string{read}, ok: 200, send: at("manifests/fixed")},
		{endpoint: "endpointManifest", method: "GET", what: "digest", needs: []string{read}, ok: 200, send: func(c *cell) sending { return sending{path: c.in("manifests/" + c.fixed)} }},
		{endpoint: "endpointManifest", method: "HEAD", what: "tag", needs: []string{read}, ok: 200, send: at("manifests/fixed")},
		{endpoint: "endpointManifest", method: "HEAD", what: "digest", needs: []string{read}, ok: 200, send: func(c *cell) sending { return sending{path: c.in("manifests/" + c.fixed)} }},
		{endpoint: "endpointManifest", method: "PUT", what: "new tag", needs: []string{create}, ok: 201, send: func(c *cell) sending { return c.manifest(c.image("fixed"), c.tag) }},
		{endpoint: "endpointManifest", method: "PUT", what: "tag that names another image", needs: []string{update}, ok: 201, send: func(c *cell) sending {
			return c.manifest(c.image("changed"), c.existing())
		}},
		{endpoint: "endpointManifest", method: "PUT", what: "tag that names this image", needs: []string{create, update}, ok: 201, send: func(c *cell) sending { return c.manifest(c.image("fixed"), "fixed") }},
		{endpoint: "endpointManifest", method: "PUT", what: "digest", needs: []string{create}, ok: 201, send: func(c *cell) sending { return c.manifest(c.image("by digest"), "") }},
		{endpoint: "endpointManifest", method: "PUT", what: "digest ?tag=new", needs: []string{create}, ok: 201, send: func(c *cell) sending { return c.manifest(c.image("fixed"), "", c.tag) }},
		{endpoint: "endpointManifest", method: "PUT", what: "digest ?tag=existing", needs: []string{update}, ok: 201, send: func(c *cell) sending {
			return c.manifest(c.image("changed"), "", c.existing())
		}},
		{endpoint: "endpointManifest", method: "PUT", what: "new tag ?tag=existing", needs: []string{create + update}, ok: 201, send: func(c *cell) sending {
			return c.manifest(c.image("changed"), c.tag+"-new", c.existing())
		}},
		{endpoint: "endpointManifest", method: "DELETE", what: "tag", needs: []string{remove}, ok: 202, send: func(c *cell) sending { return sending{path: c.in("manifests/" + c.existing())} }},
		{endpoint: "endpointManifest", method: "DELETE", what: "digest", needs: []string{remove}, ok: 202, send: func(c *cell) sending {
			return sending{path: c.in("manifests/" + c.pushed("one", c.tag))}
		}},
		{endpoint: "endpointManifest", method: "DELETE", what: "digest of two tags", needs: []string{remove}, ok: 202, send: func(c *cell) sending {
			return sending{path: c.in("manifests/" + c.pushed("two", c.tag, c.tag+"-too"))}
		}},

		{endpoint: "endpointUploads", method: "POST", what: "begin", needs: []string{create}, ok: 202, send: at("blobs/uploads/")},
		{endpoint: "endpointUploads", method: "POST", what: "whole", needs: []string{create}, ok: 201, send: func(c *cell) sending {
			return sending{path: c.in("blobs/uploads/?digest=" + digestOf([]byte(c.tag))), body: c.tag}
		}},
		{endpoint: "endpointUploads", method: "POST", what: "mount", needs: []string{create}, ok: 201, send: func(c *cell) sending {
			return sending{path: c.in("blobs/uploads/?mount=" + c.mountable() + "&from=" + c.policy.source)}
		}},
		{endpoint: "endpointUploads", method: "POST", what: "mount from anywhere", needs: []string{create}, ok: 201, send: func(c *cell) sending {
			return sending{path: c.in("blobs/uploads/?mount=" + c.mountable())}
		}},
		{endpoint: "endpointUpload", method: "PATCH", needs: []string{create}, ok: 202, send: func(c *cell) sending { return sending{path: c.upload(), body: "more"} }},
		{endpoint: "endpointUpload", method: "PUT", needs: []string{create}, ok: 201, send: func(c *cell) sending {
			return sending{path: c.upload() + "?digest=" + digestOf([]byte("begun "+c.tag+", ended")), body: ", ended"}
		}},
		{endpoint: "endpointUpload", method: "GET", needs: []string{create}, ok: 204, send: func(c *cell) sending { return sending{path: c.upload()} }},
		{endpoint: "endpointUpload", method: "DELETE", needs: []string{create}, ok: 204, send: func(c *cell) sending { return sending{path: c.upload()} }},
	}
}

// names are those of identities, by what is the same for them beside the specification.
type names struct {
	owners      []string // who has API keys
	keys, own   []string // of the former, and tokens of ours: no way to keys for who has found one
	nobody      []string
	refused     []string // whose credentials do not hold
	uncertified []string // who must show a certificate and does not: nothing is for them
	foreign     []string // tokens of another service
	workloads   []string
	unknown     []string // where there are these two alone, anybody else
}

func matrixNames() names {
	n := names{
		owners:      []string{"alice", "jack", "nina", "admin", "session", "password beside a certificate"},
		keys:        []string{"key", "key with scopes", "key beside a certificate"},
		own:         []string{"token", "token to pull"},
		nobody:      []string{"none", "empty name"},
		refused:     []string{"bad password", "expired key", "revoked key", "revoked key beside a certificate", "bad password beside a certificate"},
		uncertified: []string{"no certificate", "key without a certificate"},
		foreign: []string{
			"token of others for all", "token of others for pull", "token of others for push", "token of others for other", "token for the catalog",
		},
		unknown: append(badTokens(), "no token", "token in place of a password", "password in place of a token"),
	}
	for _, name := range matrixPeople()[1:] {
		n.owners = append(n.owners, "certificate of "+name)
		n.workloads = append(n.workloads, "workload "+name)
	}
	return n
}

// whole is a status for all, but for those without the certificate that they must show.
func (n names) whole(status int) map[string]int {
	all := statuses(map[int][]string{401: n.uncertified})
	for _, name := range slices.Concat(n.owners, n.keys, n.own, n.nobody, n.refused, n.foreign, n.workloads, n.unknown) {
		all[name] = status
	}
	return all
}

// only is 200 for some, and 401 for all others.
func (n names) only(some ...string) map[string]int {
	all := n.whole(401)
	for _, name := range some {
		all[name] = 200
	}
	return all
}

// extensionRequests are those beside the specification.
func extensionRequests() (all []matrixRequest) {
	who := matrixNames()
	for _, path := range []string{"/zot/auth/apikey", "/v2/_zot/ext/apikey"} {
		keys := func(done int) map[string]int {
			want := statuses(map[int][]string{
				done: who.owners, 403: slices.Concat(who.keys, who.own), 401: slices.Concat(who.nobody, who.refused, who.uncertified),
				404: slices.Concat(who.foreign, who.workloads), // there are none
			})
			for _, name := range who.unknown {
				want[name] = 404
				if strings.HasPrefix(path, "/v2/") { // where nobody is told what there is before they are known
					want[name] = 401
				}
			}
			return want
		}
		all = append(
			all,
			matrixRequest{endpoint: path, method: "GET", want: keys(200), silent: 404, send: func(*cell) sending { return sending{path: path} }},
			matrixRequest{endpoint: path, method: "POST", want: keys(201), silent: 404, send: func(*cell) sending { return sending{path: path, body: "{}"} }},
			matrixRequest{endpoint: path, method: "DELETE", want: keys(200), silent: 404, send: func(c *cell) sending { return sending{path: path + "?id=" + c.revocable(path)} }},
		)
	}
	for _, path := range []string{"/auth/logout", "/zot/auth/logout"} {
		all = append(all, matrixRequest{endpoint: path, method: "POST", want: who.whole(200), silent: 200, send: func(*cell) sending {
			return sending{path: path, header: map[string]string{"X-ZOT-API-CLIENT": "zot-ui"}}
		}})
	}
	for _, family := range []string{"/auth/", "/zot/auth/"} { // of browsers, whatever else they send
		all = append(
			all,
			matrixRequest{endpoint: family + "login", method: "GET", want: who.whole(404), silent: 404, provided: 302, send: func(*cell) sending {
				return sending{path: family + "login?provider=oidc&callback_ui=/"}
			}},
			matrixRequest{endpoint: family + "callback/", method: "GET", want: who.whole(404), silent: 404, provided: 401, send: func(*cell) sending { // nothing was begun
				return sending{path: family + "callback/oidc?code=x&state=x"}
			}},
		)
	}
	return append(
		all,
		matrixRequest{
			// Who gives no name has no preferences: 403, as COMPAT.md has it, if they get so far.
			endpoint: "/v2/_zot/ext/userprefs", method: "PUT", needs: []string{"r"}, ok: 200, open: 403, silent: 403,
			send: func(c *cell) sending {
				return sending{path: "/v2/_zot/ext/userprefs?action=toggleStar&repo=" + c.repository}
			},
		},
		matrixRequest{
			endpoint: "/v2/_zot/ext/mgmt", method: "GET", want: who.whole(200), silent: 200,
			send: func(*cell) sending { return sending{path: "/v2/_zot/ext/mgmt"} },
		},
		matrixRequest{
			endpoint: "/v2/_oci/ext/discover", method: "GET", open: 200, silent: 200,
			want: who.only(slices.Concat(who.owners, who.keys, who.own, who.foreign, who.workloads)...),
			send: func(*cell) sending { return sending{path: "/v2/_oci/ext/discover"} },
		},
		matrixRequest{
			// A token is no way to another one: it would last for ever. That of a workload is handed back to who has it for a password.
			endpoint: "/zot/auth/token", method: "GET", open: 200, silent: 404,
			want: who.only(slices.Concat(who.owners, who.keys, []string{"token in place of a password"})...),
			send: func(*cell) sending {
				return sending{path: "/zot/auth/token?service=r&scope=repository:team/app:pull"}
			},
		},
		matrixRequest{
			endpoint: "/zot/auth/token", method: "POST", what: "password", silent: 404,
			want: who.only(slices.Concat([]string{"alice", "jack", "nina", "admin", "password beside a certificate", "token in place of a password"}, who.keys)...),
			send: func(c *cell) sending {
				return sending{path: "/zot/auth/token", form: url.Values{"grant_type": {"password"}, "username": {c.user}, "password": {c.password}, "service": {"r"}}}
			},
		},
		matrixRequest{
			endpoint: "/zot/auth/token", method: "POST", what: "API key", silent: 404,
			want: who.only(slices.Concat(who.keys, []string{"token in place of a password"})...),
			send: func(c *cell) sending {
				return sending{path: "/zot/auth/token", form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.password}, "service": {"r"}}}
			},
		},
	)
}

// administrativeRequests are those for administrators, and with what they say about signatures that about who has signed an image.
func administrativeRequests() []matrixRequest {
	at := func(path, body string) func(*cell) sending {
		return func(*cell) sending { return sending{path: path, body: body} }
	}
	const unknown = "?digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	return []matrixRequest{
		{endpoint: "/zot/auth/logins", method: "DELETE", admin: "d", ok: 200, send: at("/zot/auth/logins?user=nobody-of-the-matrix", "")},
		{endpoint: "/v2/_zot/ext/mgmt", method: "POST", what: "cosign", admin: "c", ok: 200, send: at("/v2/_zot/ext/mgmt?resource=signatures&tool=cosign", matrixKey)},
		{endpoint: "/v2/_zot/ext/mgmt", method: "POST", what: "notation", admin: "c", ok: 200, send: at("/v2/_zot/ext/mgmt?resource=signatures&tool=notation&truststoreName=a", matrixCertificate)},
		{endpoint: "/v2/_zot/ext/cosign", method: "GET", admin: "r", ok: 200, send: at("/v2/_zot/ext/cosign", "")},
		{endpoint: "/v2/_zot/ext/cosign", method: "POST", admin: "c", ok: 200, send: at("/v2/_zot/ext/cosign", matrixKey)},
		{endpoint: "/v2/_zot/ext/cosign", method: "DELETE", admin: "d", ok: 404, send: at("/v2/_zot/ext/cosign"+unknown, "")},
		{endpoint: "/v2/_zot/ext/notation", method: "GET", admin: "r", ok: 200, send: at("/v2/_zot/ext/notation", "")},
		{endpoint: "/v2/_zot/ext/notation", method: "POST", admin: "c", ok: 200, send: at("/v2/_zot/ext/notation", matrixCertificate)},
		{endpoint: "/v2/_zot/ext/notation", method: "DELETE", admin: "d", ok: 404, send: at("/v2/_zot/ext/notation"+unknown, "")},
		{endpoint: "/v2/_zot/ext/signatures", method: "GET", needs: []string{"r"}, ok: 200, send: func(c *cell) sending {
			return sending{path: "/v2/_zot/ext/signatures?repo=" + c.repository + "&reference=fixed"}
		}},
	}
}
