package config

// What zot has keys for and this version does not act on. Who builds one of these takes its key from
// here, and reads it into the Config.

func laterInStorage() []later {
	return []later{
		{"maxRepos", "", nil},
		{"gcTimeWindow", "", nil},
	}
}

func laterInHTTP() []later {
	const open = "whoever reaches the port may pull and push"
	return []later{
		{"realm", "", nil},
		{"allowOrigin", "", nil},
		{"ratelimit", "", keys("rate").with(shape{"methods": keys("method", "rate")})},
		{"externalUrl", "", nil},
		{"readTimeout", "", nil},
		{"writeTimeout", "", nil},
		{"auth", open, authentication()},
		{"accessControl", open, accessControl()},
	}
}

func authentication() shape {
	ldap := keys("address", "port", "baseDN", "userAttribute", "bindDN", "bindPassword", "credentialsFile", "userGroupAttribute",
		"insecure", "startTLS", "skipVerify", "cacert", "subtreeSearch", "userFilter")
	provider := keys("issuer", "clientid", "clientsecret", "keypath", "scopes", "credentialsFile", "name", "authurl", "tokenurl", "claimMapping")
	return keys("failDelay", "apikey", "sessionKeysFile", "sessionDriver", "secureSession", "bearer").with(shape{
		"htpasswd": keys("path"),
		"ldap":     ldap,
		"openid":   keys("callbackAllowOrigins").with(shape{"providers": {"*": provider}}),
		"mtls":     keys("identityAttributes", "uriSanPattern", "uriSanIndex", "dnsSanIndex", "emailSanIndex"),
	})
}

// accessControl has its patterns below "repositories", or beside it, as zot's own page shows them.
func accessControl() shape {
	policy := keys("users", "groups", "actions", "conditions")
	repository := keys("defaultPolicy", "anonymousPolicy").with(shape{"policies": policy})
	return shape{
		"repositories": {"*": repository},
		"adminPolicy":  policy,
		"groups":       {"*": keys("users")},
		"metrics":      keys("users", "anonymousPolicy"),
		"*":            repository,
	}
}

func laterInExtensions() []later {
	const enable = "enable"
	return []later{
		{"metrics", "", keys(enable).with(shape{"prometheus": keys("path")})},
		{"sync", "nothing is fetched from other registries", keys(enable, "credentialsFile", "downloadDir").with(shape{"registries": syncRegistry()})},
		{"search", "", keys(enable).with(shape{"cve": keys("updateInterval", "trivy", "vulnSeveritySources", "sbom")})},
		{"ui", "", keys(enable)},
		{"mgmt", "", keys(enable)},
		{"apikey", "", keys(enable)},
		{"userprefs", "", keys(enable)},
		{"lint", "manifests are taken with and without annotations", keys(enable, "mandatoryAnnotations")},
		{"trust", "", keys(enable, "cosign", "notation")},
		{"events", "", keys(enable, "sinks")},
	}
}

func syncRegistry() shape {
	tags := keys("regex", "semver", "excludeRegex")
	return keys("urls", "onDemand", "pollInterval", "tlsVerify", "certDir", "maxRetries", "retryDelay", "onlySigned",
		"manifestCheckInterval", "maxRetryDelay", "preserveDigest", "syncTimeout", "syncLegacyCosignTags", "reqConcurrent", "reqPerSec",
		"disableHTTP2", "maxIdleConnsPerHost", "credentialHelper", "oauth2CredentialHelper").with(shape{
		"content": keys("prefix", "destination", "stripPrefix").with(shape{"tags": tags}),
	})
}
