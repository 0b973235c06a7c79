package main

// matrixCells are some cells spelt out, which the tables must agree with, and all three nodes: what each rule is about.
func matrixCells() map[string]int {
	return map[string]int{
		// The first request of a client: whether to send credentials. Where there are none it is told that it needs none.
		"config-policy.json: GET Base as none":                        401,
		"config-policy.json: GET Base as empty name":                  401,
		"config-policy.json: GET Base as bad password":                401,
		"config-policy.json: GET Base as nina":                        200,
		"public and private: GET Base as none":                        401, // although something is public
		"public and private: GET Base as token to pull":               200,
		"no logins, no accessControl: GET Base as none":               200,
		"no logins, anonymousPolicy: GET Base as bad password":        200, // nobody is asked who they are
		"only anonymousPolicy: GET Base as session":                   200,
		"config-policy.json without repositories: HEAD Base as admin": 200,

		// Bad credentials are never taken for none.
		"public and private: GET Manifest, tag as none to public/app":                 200,
		"public and private: GET Manifest, tag as empty name to public/app":           200,
		"public and private: GET Manifest, tag as bad password to public/app":         401,
		"public and private: GET Manifest, tag as expired key to public/app":          401,
		"public and private: GET Manifest, tag as revoked key to public/app":          401,
		"only anonymousPolicy: DELETE Manifest, tag as none to team/app":              202,
		"only anonymousPolicy: DELETE Manifest, tag as bad password to team/app":      401,
		"only anonymousPolicy: GET Manifest, tag as alice to team/app":                403, // what is for nobody is not for somebody
		"no accessControl: GET Manifest, tag as bad password to team/app":             401,
		"no accessControl: DELETE Manifest, digest of two tags as nina to team/app":   202,
		"no logins, no accessControl: DELETE Blob as none to team/app":                202,
		"no logins, anonymousPolicy: PUT Manifest, new tag as none to team/app":       201,
		"no logins, anonymousPolicy: DELETE Manifest, tag as none to team/app":        403, // and no way to log in
		"no logins, anonymousPolicy: GET Manifest, tag as none to private/app":        403,
		"no logins, anonymousPolicy: POST Uploads, mount as none to team/app":         202, // not from what they may not read
		"no logins, no accessControl: POST Uploads, mount as none to team/app":        201,
		"adminPolicy alone: GET Tags as nina to team/app":                             403,
		"adminPolicy alone: GET Tags as none to team/app":                             401,
		"adminPolicy alone: DELETE Blob as admin to team/app":                         202,
		"public and private: GET Manifest, tag as alice to public/secret":             403, // the longer pattern has nothing for anybody
		"public and private: GET Manifest, tag as admin to public/secret":             200,
		"public and private: PUT Manifest, new tag as admin to private/app":           403,
		"public and private: POST Uploads, mount as nina to public/app":               202,
		"public and private: POST Uploads, mount as jack to public/app":               201,
		"public and private: POST Uploads, mount from anywhere as nina to public/app": 202,

		// zot's example.
		"config-policy.json: PUT Manifest, new tag as nina to other/app":                      201, // defaultPolicy of **
		"config-policy.json: PUT Manifest, tag that names another image as nina to other/app": 403,
		"config-policy.json: PUT Manifest, tag that names this image as nina to other/app":    201,
		"config-policy.json: PUT Manifest, tag that names another image as nina to tmp/app":   201, // defaultPolicy of tmp/**
		"config-policy.json: DELETE Manifest, tag as alice to other/app":                      202, // as one of group2
		"config-policy.json: DELETE Manifest, tag as alice to tmp/app":                        403,
		"config-policy.json: DELETE Manifest, tag as jack to other/app":                       403,
		"config-policy.json: PUT Manifest, tag that names another image as jack to other/app": 201, // as one of group1
		"config-policy.json: POST Uploads, begin as jack to infra/app":                        403,
		"config-policy.json: DELETE Manifest, digest as alice to infra/app":                   202,
		"config-policy.json: POST Uploads, begin as alice to repos2/repo":                     403,
		"config-policy.json: DELETE Blob as admin to repos2/repo":                             202,
		"config-policy.json: GET Manifest, digest as none to repos2/repo":                     401,
		"config-policy.json: PUT Manifest, new tag ?tag=existing as nina to other/app":        403,
		"config-policy.json: DELETE Manifest, tag as key to other/app":                        202,
		"config-policy.json: DELETE Manifest, tag as key with scopes to other/app":            202,
		"config-policy.json: GET Manifest, tag as key with scopes to infra/app":               403,
		"config-policy.json: POST Uploads, mount as key to other/app":                         201,
		"config-policy.json: POST Uploads, mount as key with scopes to other/app":             202, // the source is out of its scopes
		"config-policy.json: DELETE Manifest, tag as session to infra/app":                    202,
		"config-policy.json: DELETE Manifest, tag as token to infra/app":                      202,
		"config-policy.json: DELETE Manifest, tag as token to pull to other/app":              401, // there is one to delete
		"config-policy.json: GET Manifest, tag as token to pull to other/app":                 200,
		"config-policy.json: GET Manifest, tag as token to pull to infra/app":                 401,
		"config-policy.json: DELETE Manifest, tag as token to pull to tmp/app":                403, // there is none
		"config-policy.json without repositories: PATCH Upload as alice to infra/app":         202,
		"config-policy.json without repositories: PATCH Upload as nina to infra/app":          403,
		"config-policy.json without repositories: DELETE Upload as bad password to infra/app": 401,
		"config-policy.json without repositories: GET Upload as jack to infra/app":            403, // its status is part of a push
		"config-policy.json without repositories: PUT Upload as session to infra/app":         201,
		"config-policy.json without repositories: HEAD Blob as nina to infra/app":             200,
		"config-policy.json without repositories: GET Catalog, pages as token to pull":        401,
		"config-policy.json without repositories: GET Catalog, pages as token":                200,

		// Rights by group, and the duty of who has detectManifestCollision.
		"groups: PUT Manifest, new tag as jack to team/app":                      201,
		"groups: PUT Manifest, tag that names another image as jack to team/app": 403,
		"groups: PUT Manifest, new tag as nina to team/app":                      403,
		"groups: PUT Manifest, tag that names another image as nina to team/app": 201,
		"groups: PUT Manifest, digest ?tag=existing as nina to team/app":         201,
		"groups: PUT Manifest, new tag ?tag=existing as nina to team/app":        403,
		"groups: PUT Manifest, new tag ?tag=existing as alice to team/app":       201,
		"groups: DELETE Manifest, digest as alice to team/app":                   202,
		"groups: DELETE Manifest, digest of two tags as alice to team/app":       409,
		"groups: DELETE Manifest, digest of two tags as token to team/app":       409,
		"groups: DELETE Manifest, digest of two tags as admin to team/app":       202,
		"groups: GET Manifest, tag as admin to team/app":                         403,
		"groups: POST Uploads, mount as jack to team/app":                        202,

		// Beside the specification.
		"config-policy.json: GET /zot/auth/apikey as session":                   200,
		"config-policy.json: POST /zot/auth/apikey as key":                      403, // no key makes another
		"config-policy.json: DELETE /v2/_zot/ext/apikey as token":               403,
		"config-policy.json: GET /v2/_zot/ext/apikey as none":                   401,
		"no logins, no accessControl: GET /zot/auth/apikey as none":             404,
		"config-policy.json: GET /v2/_zot/ext/mgmt as bad password":             200,
		"public and private: PUT /v2/_zot/ext/userprefs as none to public/app":  403,
		"public and private: PUT /v2/_zot/ext/userprefs as nina to private/app": 403,
		"config-policy.json: PUT /v2/_zot/ext/userprefs as none to other/app":   401,
		"config-policy.json: GET /zot/auth/token as none":                       401,
		"public and private: GET /zot/auth/token as none":                       200,
		"public and private: GET /zot/auth/token as bad password":               401,
		"config-policy.json: GET /zot/auth/token as token":                      401,
		"config-policy.json: POST /zot/auth/token, API key as key":              200,
		"config-policy.json: POST /zot/auth/token, API key as revoked key":      401,
		"config-policy.json: POST /zot/auth/token, password as bad password":    401,
		"no logins, anonymousPolicy: GET /zot/auth/token as alice":              404,
		"config-policy.json: GET /v2/_oci/ext/discover as none":                 401,
		"public and private: GET /v2/_oci/ext/discover as none":                 200,
		"config-policy.json: POST /auth/logout as none":                         200,
		"public and private: GET /zot/auth/login as none":                       302,
		"public and private: GET /auth/callback/ as alice":                      401, // who has begun no login
		"config-policy.json: GET /zot/auth/login as none":                       404,

		// Who is logged in, and what signatures are believed by, is for administrators.
		"config-policy.json: DELETE /zot/auth/logins as admin":                            200,
		"config-policy.json: DELETE /zot/auth/logins as alice":                            403,
		"config-policy.json: DELETE /zot/auth/logins as session":                          403,
		"config-policy.json: DELETE /zot/auth/logins as none":                             401,
		"config-policy.json: POST /v2/_zot/ext/mgmt, cosign as admin":                     200,
		"config-policy.json: POST /v2/_zot/ext/mgmt, cosign as alice":                     403, // who may do everything to infra/*
		"config-policy.json: POST /v2/_zot/ext/mgmt, notation as none":                    401,
		"config-policy.json: POST /v2/_zot/ext/cosign as bad password":                    401,
		"groups: POST /v2/_zot/ext/cosign as admin":                                       403, // who may only delete
		"groups: DELETE /v2/_zot/ext/cosign as admin":                                     404, // there is none
		"groups: GET /v2/_zot/ext/notation as alice":                                      403,
		"public and private: POST /v2/_zot/ext/notation as admin":                         403,
		"public and private: GET /v2/_zot/ext/notation as admin":                          200,
		"public and private: GET /v2/_zot/ext/cosign as none":                             401,
		"no accessControl: POST /v2/_zot/ext/cosign as nina":                              200, // who may do everything
		"no accessControl: POST /v2/_zot/ext/cosign as key":                               200,
		"no accessControl: POST /v2/_zot/ext/cosign as key with scopes":                   403,
		"no accessControl: POST /v2/_zot/ext/cosign as token":                             403,
		"no accessControl: POST /v2/_zot/ext/cosign as none":                              401,
		"no logins, no accessControl: POST /v2/_zot/ext/cosign as none":                   200,
		"no logins, anonymousPolicy: POST /v2/_zot/ext/cosign as none":                    403,
		"only anonymousPolicy: POST /v2/_zot/ext/cosign as none":                          401,
		"public and private: GET /v2/_zot/ext/signatures as none to public/app":           200,
		"public and private: GET /v2/_zot/ext/signatures as none to private/app":          401,
		"public and private: GET /v2/_zot/ext/signatures as nina to private/app":          403,
		"config-policy.json: GET /v2/_zot/ext/signatures as key with scopes to other/app": 200,

		// Certificates say who somebody is who says nothing else; where everybody has to show one, nothing is for who does not.
		"certificates: GET Base as no certificate":                                                         401,
		"certificates: GET /v2/_zot/ext/mgmt as no certificate":                                            401,
		"certificates: POST /zot/auth/logout as no certificate":                                            401,
		"certificates: GET /zot/auth/login as no certificate":                                              401,
		"certificates: GET Manifest, tag as key without a certificate to team/app":                         401,
		"certificates: GET Manifest, tag as certificate of nina to team/app":                               200, // defaultPolicy
		"certificates: PUT Manifest, new tag as certificate of nina to team/app":                           403,
		"certificates: PUT Manifest, new tag as certificate of jack to team/app":                           201, // as one of devs
		"certificates: DELETE Manifest, tag as certificate of admin to team/app":                           202,
		"certificates: DELETE Manifest, tag as key beside a certificate to team/app":                       202, // alice's, beside nina's
		"certificates: GET Manifest, tag as revoked key beside a certificate to team/app":                  401, // although it is admin's
		"certificates: POST /zot/auth/apikey as certificate of jack":                                       201,
		"certificates: POST /zot/auth/apikey as key beside a certificate":                                  403,
		"certificates: POST Uploads, mount as certificate of nina to team/app":                             403,
		"certificates and passwords: GET Base as none":                                                     401,
		"certificates and passwords: GET Manifest, tag as none to public/app":                              200,
		"certificates and passwords: DELETE Manifest, tag as password beside a certificate to public/app":  403, // jack's, beside alice's
		"certificates and passwords: GET Manifest, tag as bad password beside a certificate to public/app": 401,
		"certificates and passwords: DELETE Manifest, tag as certificate of alice to public/app":           202,
		"certificates or nothing: GET Base as none":                                                        200,
		"certificates or nothing: GET Manifest, tag as none to public/app":                                 200,
		"certificates or nothing: GET Manifest, tag as certificate of nina to public/app":                  403, // what is for nobody is not for somebody
		"certificates or nothing: PUT /v2/_zot/ext/userprefs as certificate of jack to public/app":         200,
		"certificates or nothing: PUT /v2/_zot/ext/userprefs as none to public/app":                        403,

		// A token service's tokens are for what they say, whatever the rules; of a workload the rules decide.
		"tokens of others: GET Base as no token":                                                               401,
		"tokens of others: GET Base as token of others for other":                                              200,
		"tokens of others: DELETE Manifest, tag as token of others for all to team/other":                      202,
		"tokens of others: DELETE Manifest, tag as token of others for push to team/app":                       401,
		"tokens of others: PUT Manifest, tag that names another image as token of others for push to team/app": 201,
		"tokens of others: GET Manifest, tag as token of others for pull to team/other":                        401,
		"tokens of others: POST Uploads, mount as token of others for all to team/app":                         201,
		"tokens of others: POST Uploads, mount as token of others for push to team/app":                        202,
		"tokens of others: GET Catalog, all as token of others for pull":                                       200,
		"tokens of others: GET Manifest, tag as token for the catalog to team/app":                             401,
		"tokens of others: GET Manifest, tag as token of others, unsigned to team/app":                         401,
		"tokens of others: GET Manifest, tag as token of others, by the public key to team/app":                401,
		"tokens of others: GET Manifest, tag as token of others, expired to team/app":                          401,
		"tokens of others: GET Manifest, tag as token of others, of another key to team/app":                   401,
		"tokens of others: PUT Manifest, new tag as workload jack to team/app":                                 201,
		"tokens of others: PUT Manifest, new tag as workload nina to team/app":                                 403,
		"tokens of others: GET Manifest, tag as workload, of another audience to team/app":                     401,
		"tokens of others: GET Manifest, tag as password in place of a token to team/app":                      401,
		"tokens of others: GET /zot/auth/apikey as token of others for all":                                    404,
		"tokens of others: GET /zot/auth/token as token in place of a password":                                200,
		"tokens of others: POST /v2/_zot/ext/cosign as token of others for all":                                403,
		"tokens of others: POST /v2/_zot/ext/cosign as workload admin":                                         200,
		"certificates: POST /v2/_zot/ext/cosign as certificate of admin":                                       200,
		"certificates: POST /v2/_zot/ext/cosign as no certificate":                                             401,
		"tokens of others: GET /zot/auth/token as workload alice":                                              401, // it is no way to another one
	}
}
