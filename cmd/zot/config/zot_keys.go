package config

// What zot has keys for and this version does not act on. Who builds one of these takes its key from
// here, and reads it into the Config.

func laterInHTTP() []later {
	return []later{
		{"allowOrigin", "", nil},
		{"ratelimit", "", keys("rate").with(shape{"methods": keys("method", "rate")})},
	}
}
