package config

// What zot has keys for and this version does not act on. Who builds one of these takes its key from
// here, and reads it into the Config.

func laterInStorage() []later {
	return []later{
		{"gcTimeWindow", "", nil},
	}
}

func laterInHTTP() []later {
	return []later{
		{"allowOrigin", "", nil},
		{"ratelimit", "", keys("rate").with(shape{"methods": keys("method", "rate")})},
		{"readTimeout", "", nil},
		{"writeTimeout", "", nil},
	}
}

// laterAuth is a key of http.auth that this version does not act on, and whether it is a way to log in.
type laterAuth struct {
	later

	logsIn bool
}

func laterInAuth() []laterAuth {
	const closed = "nobody can log in by it"
	provider := keys("issuer", "clientid", "clientsecret", "keypath", "scopes", "credentialsFile", "name", "authurl", "tokenurl", "claimMapping")
	return []laterAuth{
		{later{"bearer", closed, nil}, true},
		{later{"openid", closed, keys("callbackAllowOrigins").with(shape{"providers": {"*": provider}})}, true},
		{later{"mtls", "", keys("identityAttributes", "uriSanPattern", "uriSanIndex", "dnsSanIndex", "emailSanIndex")}, false},
	}
}

func laterInExtensions() []later {
	const enable = "enable"
	return []later{
		{"metrics", "", keys(enable).with(shape{"prometheus": keys("path")})},
		{"sync", "nothing is fetched from other registries", keys(enable, "credentialsFile", "downloadDir").with(shape{"registries": syncRegistry()})},
		{"search", "", keys(enable).with(shape{"cve": keys("updateInterval", "trivy", "vulnSeveritySources", "sbom")})},
		{"ui", "", keys(enable)},
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
