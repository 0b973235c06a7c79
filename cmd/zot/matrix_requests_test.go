package main

import (
	"fmt"
	"net/url"
	"slices"
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
	return slices.Concat(specRequests(), extensionRequests(), signatureRequests())
}

// specRequests are those of the distribution specification.
func specRequests() []matrixRequest {
	anybody := statuses(map[int][]string{
		200: {"alice", "jack", "nina", "admin", "key", "key with scopes", "session", "token", "token to pull"},
		401: {"none", "empty name", "bad password", "expired key", "revoked key"},
	})
	lists := statuses(map[int][]string{
		200: {"alice", "jack", "nina", "admin", "key", "key with scopes", "session", "token"},
		401: {"none", "empty name", "bad password", "expired key", "revoked key", "token to pull"}, // a list takes a token for it
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

// extensionRequests are those beside the specification.
func extensionRequests() (all []matrixRequest) {
	owners := []string{"alice", "jack", "nina", "admin", "session"}
	lent := []string{"key", "key with scopes", "token", "token to pull"} // no way to keys for who has found one
	refused := []string{"bad password", "expired key", "revoked key"}
	nobody := []string{"none", "empty name"}
	for _, path := range []string{"/zot/auth/apikey", "/v2/_zot/ext/apikey"} {
		keys := statuses(map[int][]string{200: owners, 403: lent, 401: append(nobody, refused...)})
		made := statuses(map[int][]string{201: owners, 403: lent, 401: append(nobody, refused...)})
		all = append(
			all,
			matrixRequest{endpoint: path, method: "GET", want: keys, silent: 404, send: func(*cell) sending { return sending{path: path} }},
			matrixRequest{endpoint: path, method: "POST", want: made, silent: 404, send: func(*cell) sending { return sending{path: path, body: "{}"} }},
			matrixRequest{endpoint: path, method: "DELETE", want: keys, silent: 404, send: func(c *cell) sending { return sending{path: path + "?id=" + c.revocable(path)} }},
		)
	}
	for _, path := range []string{"/auth/logout", "/zot/auth/logout"} {
		everybody := statuses(map[int][]string{200: append(append(append(owners, lent...), refused...), nobody...)})
		all = append(all, matrixRequest{endpoint: path, method: "POST", want: everybody, silent: 200, send: func(*cell) sending {
			return sending{path: path, header: map[string]string{"X-ZOT-API-CLIENT": "zot-ui"}}
		}})
	}
	for _, family := range []string{"/auth/", "/zot/auth/"} { // of browsers, whatever else they send
		nowhere := statuses(map[int][]string{404: append(append(append(owners, lent...), refused...), nobody...)})
		all = append(
			all,
			matrixRequest{endpoint: family + "login", method: "GET", want: nowhere, silent: 404, provided: 302, send: func(*cell) sending {
				return sending{path: family + "login?provider=oidc&callback_ui=/"}
			}},
			matrixRequest{endpoint: family + "callback/", method: "GET", want: nowhere, silent: 404, provided: 401, send: func(*cell) sending { // nothing was begun
				return sending{path: family + "callback/oidc?code=x&state=x"}
			}},
		)
	}
	known := append(append([]string{}, owners...), lent...)
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
			endpoint: "/v2/_zot/ext/mgmt", method: "GET", want: statuses(map[int][]string{200: append(append(known, nobody...), refused...)}), silent: 200,
			send: func(*cell) sending { return sending{path: "/v2/_zot/ext/mgmt"} },
		},
		matrixRequest{
			endpoint: "/v2/_oci/ext/discover", method: "GET", want: statuses(map[int][]string{200: known, 401: append(nobody, refused...)}), open: 200, silent: 200,
			send: func(*cell) sending { return sending{path: "/v2/_oci/ext/discover"} },
		},
		matrixRequest{
			// A token is no way to another one: it would last for ever.
			endpoint: "/zot/auth/token", method: "GET", want: statuses(map[int][]string{
				200: {"alice", "jack", "nina", "admin", "session", "key", "key with scopes"}, 401: append([]string{"token", "token to pull", "none", "empty name"}, refused...),
			}), open: 200, silent: 404,
			send: func(*cell) sending {
				return sending{path: "/zot/auth/token?service=r&scope=repository:team/app:pull"}
			},
		},
		matrixRequest{
			endpoint: "/zot/auth/token", method: "POST", what: "password", want: statuses(map[int][]string{
				200: {"alice", "jack", "nina", "admin", "key", "key with scopes"}, 401: append([]string{"session", "token", "token to pull", "none", "empty name"}, refused...),
			}), silent: 404,
			send: func(c *cell) sending {
				return sending{path: "/zot/auth/token", form: url.Values{"grant_type": {"password"}, "username": {c.user}, "password": {c.password}, "service": {"r"}}}
			},
		},
		matrixRequest{
			endpoint: "/zot/auth/token", method: "POST", what: "API key", want: statuses(map[int][]string{
				200: {"key", "key with scopes"}, 401: append([]string{"alice", "jack", "nina", "admin", "session", "token", "token to pull", "none", "empty name"}, refused...),
			}), silent: 404,
			send: func(c *cell) sending {
				return sending{path: "/zot/auth/token", form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.password}, "service": {"r"}}}
			},
		},
	)
}

// signatureRequests are those about who has signed images, and by what that is believed.
func signatureRequests() []matrixRequest {
	at := func(path, body string) func(*cell) sending {
		return func(*cell) sending { return sending{path: path, body: body} }
	}
	const unknown = "?digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	return []matrixRequest{
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

// matrixIdentity is somebody who asks.
type matrixIdentity struct {
	name    string
	person  string                                // whose grants they have
	refused bool                                  // their credentials hold nowhere
	login   func(c *cell) (user, password string) // nil: they send no password
	header  func(c *cell) map[string]string       // of their requests
}

// matrixIdentities are all that ask.
func matrixIdentities() []matrixIdentity {
	own := func(name string) func(*cell) (string, string) {
		return func(*cell) (string, string) { return name, name }
	}
	key := func(of func(m *matrix) madeKey) func(c *cell) (string, string) {
		return func(c *cell) (string, string) { return "alice", of(c.matrix).APIKey }
	}
	bearer := func(of func(m *matrix) string) func(c *cell) map[string]string {
		return func(c *cell) map[string]string { return map[string]string{"Authorization": "Bearer " + of(c.matrix)} }
	}
	return []matrixIdentity{
		{name: "none"},
		{name: "empty name", header: func(*cell) map[string]string { return map[string]string{"Authorization": "Basic Og=="} }}, // as some clients say that they have none
		{name: "alice", person: "alice", login: own("alice")},
		{name: "jack", person: "jack", login: own("jack")}, // mostly what a group may
		{name: "nina", person: "nina", login: own("nina")}, // mostly what everybody may who has a name
		{name: "admin", person: "admin", login: own("admin")},
		// Each try is of another account and from another address: this is not about guessing.
		{name: "bad password", refused: true, login: func(c *cell) (string, string) { return fmt.Sprint("w", c.number), "wrong" }, header: func(c *cell) map[string]string {
			return map[string]string{"X-Forwarded-For": fmt.Sprintf("10.%d.%d.%d", c.number>>16&255, c.number>>8&255, c.number&255)}
		}},
		{name: "expired key", refused: true, login: key(func(m *matrix) madeKey { return m.expired })},
		{name: "revoked key", refused: true, login: key(func(m *matrix) madeKey { return m.revoked })},
		{name: "key", person: "alice", login: key(func(m *matrix) madeKey { return m.key })},
		{name: "key with scopes", person: "alice", login: key(func(m *matrix) madeKey { return m.scoped })},
		{name: "session", person: "alice", header: func(c *cell) map[string]string {
			return map[string]string{"X-ZOT-API-CLIENT": "zot-ui", "Cookie": "session=" + c.session()}
		}},
		{name: "token", person: "alice", header: bearer(func(m *matrix) string { return m.token })},
		{name: "token to pull", person: "alice", header: bearer(func(m *matrix) string { return m.pulling })},
	}
}
