package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTTP says where clients are served.
type HTTP struct {
	Address string
	Port    string // "" or "0": the kernel chooses
	TLS     ServerTLS
	Auth    Auth
	// How long a request may take to be read, and to be answered, from its beginning; 0 or less: any time, as long as the
	// client is not silent.
	ReadTimeout, WriteTimeout time.Duration
	// ExternalURL is where clients reach this registry, as https://registry.example; "": where they say that they do.
	ExternalURL string
	Origins     []string    // of pages that may use the registry, or AnyOrigin, in lower case; none: any
	RateLimits  []RateLimit // each holds; none: there is no limit
}

// Listen is where to listen, as host:port.
func (c *HTTP) Listen() string {
	port := c.Port
	if port == "" {
		port = "0"
	}
	return net.JoinHostPort(bare(c.Address), port)
}

// bare is an address without the brackets of an IPv6 one.
func bare(address string) string {
	if inside, ok := strings.CutPrefix(address, "["); ok {
		return strings.TrimSuffix(inside, "]")
	}
	return address
}

func readHTTP(s *section, c *HTTP) {
	s.word("address", &c.Address)
	s.text("port", &c.Port)
	s.section("tls", func(s *section) {
		s.text("cert", &c.TLS.Cert)
		s.text("key", &c.TLS.Key)
		s.text("cacert", &c.TLS.ClientCA)
	})
	s.text("realm", &c.Auth.Realm)
	s.section("auth", func(s *section) { readAuth(s, &c.Auth) })
	s.section("accessControl", func(s *section) { readAccessControl(s, &c.Auth) })
	c.TLS.ClientMust = c.TLS.Certifies() && !mayComeWithout(c.Auth)
	s.text("externalUrl", &c.ExternalURL)
	c.ExternalURL = strings.TrimSuffix(c.ExternalURL, "/")
	s.anyDuration("readTimeout", &c.ReadTimeout)
	s.anyDuration("writeTimeout", &c.WriteTimeout)
	readOrigins(s, &c.Origins)
	s.section("ratelimit", func(s *section) { readRateLimit(s, &c.RateLimits) })
	readCompat(s)
}

// readCompat reads which manifests beside those of OCI are asked for. Docker's are taken whatever it says.
func readCompat(s *section) {
	var all []string
	s.list("compat", &all)
	for i, one := range all {
		if !strings.EqualFold(one, "docker2s2") {
			s.problem(fmt.Sprintf("%s[%d]", s.key("compat"), i), `write "docker2s2", or leave compat out: such manifests are taken either way`, "%q is not known", one)
		}
	}
}

// mayComeWithout reports whether clients are let in that have no certificate: with a password of a file, or as nobody in
// particular, who may do something to repositories.
func mayComeWithout(a Auth) bool {
	if a.Htpasswd != "" {
		return true
	}
	if a.Access == nil {
		return false
	}
	for _, r := range a.Access.Repositories {
		if r.Anonymous != 0 {
			return true
		}
	}
	return false
}

func checkHTTP(c *Config, r *reader) {
	h := &c.HTTP
	if err := checkHost(bare(h.Address)); err != nil {
		r.problem("http.address", `write it as "0.0.0.0", "::" or a host name; the port goes to http.port`, "%v", err)
	}
	if err := checkPort(h.Port); h.Port != "" && err != nil {
		r.problem("http.port", "give a number from 0 to 65535, 0 for any free port", "%v", err)
	}
	if u, err := url.Parse(h.ExternalURL); h.ExternalURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		r.problem("http.externalUrl", `write it as "https://registry.example"`, "%q is no address of a registry", withoutAccount(h.ExternalURL))
	}
	switch t := h.TLS; {
	case t.On() || t == ServerTLS{}:
	case t.Cert == "" && t.Key == "":
		r.note("http.tls.cacert", "says nothing without cert and key: clients are served without TLS")
	default:
		r.note("http.tls", "needs both cert and key: with one of them clients are served without TLS")
	}
	checkTimeout(r, "http.readTimeout", "send", h.ReadTimeout)
	checkTimeout(r, "http.writeTimeout", "fetch", h.WriteTimeout)
	checkAuth(h, r)
	checkMTLS(h, r)
	if !c.Cluster.Alone && collide(h.Listen(), c.Cluster.Listen) {
		r.problem("cluster.listen", "give one of them another port", "%s is where clients are served", c.Cluster.Listen)
	}
}

// slowLayer is how long a layer of some 10 GB needs over a line of a few megabytes a second.
const slowLayer = time.Hour

// checkTimeout warns of a limit that large layers will not keep to.
func checkTimeout(r *reader, key, does string, limit time.Duration) {
	if limit > 0 && limit < slowLayer {
		r.note(key, "cuts off who needs more than %s to %s a layer; without it only who is silent is cut off", limit, does)
	}
}

func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if strings.ContainsAny(host, ":/ \t[]") {
		return fmt.Errorf("%q is no address", host)
	}
	return nil
}

// collide reports whether two listeners want the same port of the same address.
func collide(a, b string) bool {
	aHost, aPort, aErr := net.SplitHostPort(a)
	bHost, bPort, bErr := net.SplitHostPort(b)
	n, err := strconv.Atoi(aPort)
	if errors.Join(aErr, bErr, err) != nil || n == 0 || aPort != bPort {
		return false
	}
	every := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return aHost == bHost || every(aHost) || every(bHost)
}
