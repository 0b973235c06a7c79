package config

import (
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/seed-16d79997/zot/auth/access"
)

// Auth says who clients are, and what they may do.
type Auth struct {
	Realm     string
	FailDelay time.Duration // until whoever gave credentials is told no
	LDAP      *LDAP         // asked first; nil: there is none
	Htpasswd  string        // a file of names and passwords
	OpenID    *OpenID       // providers that vouch for people; nil: there are none
	Half      bool          // a method is configured by half: nobody can log in by it, and nobody is let in for that
	APIKeys   bool          // who has a name may make API keys, and use them
	// SecureCookies has browsers keep cookies for TLS alone, as behind a proxy that has it.
	SecureCookies bool
	Bearer        *Bearer        // others' tokens say who clients are, and nothing else does; nil: they do not
	MTLS          *MTLS          // nil: the common name of a certificate names who has it
	Access        *access.Config // nil: whoever is let in may do everything
	Metrics       *MetricsAccess // nil: nothing is said of them
}

// Asks reports whether clients have to say who they are.
func (a *Auth) Asks() bool {
	return a.Passwords() || a.OpenID != nil || a.Half || a.Bearer != nil
}

// LogsIn is Asks, or that there are API keys alone, which people make who have shown a certificate.
func (a *Auth) LogsIn() bool { return a.Asks() || a.APIKeys }

// Passwords reports whether somebody can have one.
func (a *Auth) Passwords() bool { return a.LDAP != nil || a.Htpasswd != "" }

// maxFailDelay keeps a request of one who has no password from being a connection for ever.
const maxFailDelay = time.Minute

func readAuth(s *section, c *Auth) {
	delay := 0
	s.number("failDelay", &delay)
	c.FailDelay = time.Duration(delay) * time.Second
	if delay < 0 || delay > int(maxFailDelay/time.Second) {
		s.problem(s.key("failDelay"), "give seconds, 0 to 60", "%d is none of them", delay)
	}
	s.section("ldap", func(s *section) { readLDAP(s, c) })
	s.section("htpasswd", func(s *section) {
		if s.text("path", &c.Htpasswd); c.Htpasswd == "" {
			s.note(s.path, "names no file, so nobody can log in by it")
		}
	})
	c.APIKeys = s.section("openid", func(s *section) { readOpenID(s, c) }) // as for zot
	s.section("bearer", func(s *section) { readBearer(s, c) })
	s.section("mtls", func(s *section) { readMTLS(s, c) })
	s.boolean("secureSession", &c.SecureCookies)
	const replicated = "is not needed, and not used: logins are in the replicated state, and good on every node"
	s.noteIf("sessionKeysFile", replicated)
	s.noteIf("sessionDriver", replicated)
	s.ignored("sessionKeysFile", "sessionDriver")
	s.boolean("apikey", &c.APIKeys)
}

// readAccessControl reads patterns below "repositories" or, as zot's own page shows them, beside it.
func readAccessControl(s *section, c *Auth) {
	a := &access.Config{Repositories: map[string]access.Repository{}, Groups: map[string][]string{}}
	c.Access = a
	s.section("repositories", func(s *section) { readPatterns(s, a) })
	s.section("adminPolicy", func(s *section) { a.Admin = readAccessPolicy(s) })
	s.section("groups", func(s *section) {
		s.others(func(name string, s *section) {
			var users []string
			s.list("users", &users)
			a.Groups[name] = users
		})
	})
	s.section("metrics", func(s *section) { readMetricsAccess(s, c) })
	beside := slices.ContainsFunc(s.object.members, func(m member) bool { return !s.knows(m.name) })
	if beside {
		s.note(s.path, `has patterns beside "repositories"; they are read as if they stood below it`)
		readPatterns(s, a)
	}
	spellGroups(a)
}

// spellGroups has each group under the names that policies have for it too: zot reads the keys of a file in lower case, and
// the names in policies as they are.
func spellGroups(a *access.Config) {
	defined := map[string]string{}
	for name := range a.Groups {
		defined[fold(name)] = name
	}
	spell := func(p access.Policy) {
		for _, name := range p.Groups {
			if as, is := defined[fold(name)]; is {
				a.Groups[name] = a.Groups[as]
			}
		}
	}
	spell(a.Admin)
	for _, r := range a.Repositories {
		for _, p := range r.Policies {
			spell(p)
		}
	}
}

// readPatterns reads each key that nobody else has asked for as a pattern, in lower case as names are.
func readPatterns(s *section, a *access.Config) {
	s.others(func(glob string, s *section) {
		switch {
		case !doublestar.ValidatePattern(glob):
			s.problem(s.path, `write "team/*" for all in team, "team/**" for all at any depth`, "%q is no glob", glob)
		case strings.HasPrefix(glob, "/"):
			s.note(s.path, `matches nothing, for no name begins with "/"`)
		}
		var r access.Repository
		s.sections("policies", func(s *section) { r.Policies = append(r.Policies, readAccessPolicy(s)) })
		r.Default, r.Anonymous = s.actions("defaultPolicy"), s.actions("anonymousPolicy")
		if glob = strings.ToLower(glob); s.schema == nil {
			if _, twice := a.Repositories[glob]; twice {
				s.problem(s.path, "remove one of them", `stands twice, below "repositories" and beside it`)
			}
		}
		a.Repositories[glob] = r
	})
}

func readAccessPolicy(s *section) (p access.Policy) {
	s.list("users", &p.Users)
	s.list("groups", &p.Groups)
	p.Actions = s.actions("actions")
	if slices.Contains(p.Users, "*") {
		s.note(s.key("users"), `"*" is a user of that name; what everybody may is defaultPolicy`)
	}
	p.Conditions = readConditions(s)
	return p
}

// actions reads a list of words. Those that are none say nothing, as for zot.
func (s *section) actions(name string) (all access.Action) {
	var words []string
	s.list(name, &words)
	for _, word := range words {
		a, known := access.ParseAction(word)
		if !known {
			s.note(s.key(name), "%q is no action, and grants nothing; there are read, create, update, delete and detectManifestCollision", word)
		}
		all |= a
	}
	return all
}

// completeAuth has API keys where either section asks for them, and somebody can log in who would make one.
func completeAuth(c *Config, r *reader) {
	onlyBearer(c, r)
	a := &c.HTTP.Auth
	a.APIKeys = (a.APIKeys || c.Extensions.APIKeys) && a.Bearer == nil
	if a.APIKeys && !a.Asks() && !c.HTTP.TLS.Certifies() {
		a.APIKeys = false
		r.note("http.auth.apikey", "says nothing: nobody can log in, and so nobody can make an API key")
	}
}

// checkAuth refuses what nobody could use: policies for names where nobody can have one.
func checkAuth(c *HTTP, r *reader) {
	a := &c.Auth
	if a.Access == nil || a.Asks() || c.TLS.Certifies() {
		return
	}
	named := len(a.Access.Admin.Users)+len(a.Access.Admin.Groups) > 0
	for _, repository := range a.Access.Repositories {
		named = named || repository.Default != 0
		for _, p := range repository.Policies {
			named = named || len(p.Users)+len(p.Groups) > 0
		}
	}
	if named {
		r.problem("http.accessControl", "configure http.auth.htpasswd, ldap, openid or bearer, or http.tls.cacert beside cert and key, or leave only anonymousPolicy", "has policies for users, and there is no way to log in")
	}
}
