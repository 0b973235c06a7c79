package config

// What zot has keys for and this version does not act on. Who builds one of these takes its key from
// here, and reads it into the Config.

func laterInHTTP() []later {
	return []later{
		{"allowOrigin", "", nil},
		{"ratelimit", "", keys("rate").with(shape{"methods": keys("method", "rate")})},
	}
}

// laterAuth is a key of http.auth that this version does not act on, and whether it is a way to log in.
type laterAuth struct {
	later

	logsIn bool
}

func laterInAuth() []laterAuth {
	const closed = "nobody can log in by it"
	return []laterAuth{
		{later{"bearer", closed, nil}, true},
		{later{"mtls", "", keys("identityAttributes", "uriSanPattern", "uriSanIndex", "dnsSanIndex", "emailSanIndex")}, false},
	}
}
