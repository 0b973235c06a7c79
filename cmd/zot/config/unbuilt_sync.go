package config

import (
	"regexp"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// readSync reads what to fetch from other registries.
func readSync(s *section) {
	s.enable()
	s.texts("credentialsFile", "downloadDir")
	s.sections("registries", readUpstream)
}

func readUpstream(s *section) {
	s.list("urls", new([]string))
	onDemand := false
	s.boolean("onDemand", &onDemand)
	s.duration("pollInterval", new(time.Duration))
	s.boolean("tlsVerify", new(true))
	s.texts("certDir")
	s.boolean("onlySigned", new(bool))
	s.duration("manifestCheckInterval", new(time.Duration))
	if s.has("manifestCheckInterval") && !onDemand {
		s.problem(s.key("manifestCheckInterval"), `add "onDemand": true, or remove it`, "is for what is fetched on demand")
	}
	s.boolean("preserveDigest", new(bool))
	s.duration("syncTimeout", new(3*time.Hour))
	s.boolean("syncLegacyCosignTags", new(true))
	s.boolean("disableHTTP2", new(bool))
	s.positive("reqConcurrent", 3)
	s.positive("reqPerSec", 0)
	s.positive("maxIdleConnsPerHost", 0)
	s.oneOf("credentialHelper", new(string), "ecr", "gcp", "oauth2")
	s.section("oauth2CredentialHelper", func(s *section) {
		s.texts("tokenURL", "assertionFile", "signingFile", "grantType", "clientID", "clientSecretFile", "username", "audience", "subjectTokenType", "requestedTokenType")
		s.list("scopes", new([]string))
		s.noteUnknown()
	})
	readRetries(s)
	s.sections("content", readContent)
}

// readRetries reads how often to try again, and when.
func readRetries(s *section) {
	var delay, most time.Duration
	s.count("maxRetries", new(int))
	s.duration("retryDelay", &delay)
	s.duration("maxRetryDelay", &most)
	if s.has("maxRetries") && !s.has("retryDelay") {
		s.problem(s.key("retryDelay"), `say how long to wait between two tries, as "5m"`, "is missing beside maxRetries")
	}
	if s.has("maxRetryDelay") && most < delay {
		s.problem(s.key("maxRetryDelay"), "give as much as retryDelay, or more", "%s is less than retryDelay, %s", most, delay)
	}
}

// positive reads a number of which there is at least one.
func (s *section) positive(name string, usual int) {
	n, before := usual, len(s.problems)
	if s.number(name, &n); s.has(name) && n < 1 && len(s.problems) == before {
		s.problem(s.key(name), "give 1 or more, or leave it out", "%d is not above zero", n)
	}
}

// readContent reads which repositories and tags to fetch, and where to.
func readContent(s *section) {
	prefix, destination, strips := "", "", false
	s.text("prefix", &prefix)
	s.text("destination", &destination)
	s.boolean("stripPrefix", &strips)
	if !doublestar.ValidatePattern(prefix) {
		s.problem(s.key("prefix"), `write "team/*" for all in team, "team/**" for all at any depth`, "%q is no glob", prefix)
	}
	if strips && destination == "/" && !strings.Contains(prefix, "/*") {
		s.problem(s.key("stripPrefix"), `give a prefix that ends in "/*" or "/**", or another destination`, `would leave nothing of %q to be the name below "/"`, prefix)
	}
	s.section("tags", func(s *section) {
		s.boolean("semver", new(bool))
		s.expression("regex")
		s.expression("excludeRegex")
	})
}

// expression reads a regular expression.
func (s *section) expression(name string) {
	text := ""
	s.text(name, &text)
	if _, err := regexp.Compile(text); err != nil {
		s.problem(s.key(name), `write it as "^v2\\."`, "%q is no regular expression: %v", text, why(err))
	}
}
