package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// Change is a key of which two configurations say different things.
type Change struct {
	Key     string // its path, or that of its section
	Restart bool   // a node that runs goes on by what it was started with
}

// Changes compares the configuration that a node goes by with another one. It returns the keys that differ, in the order of
// the file's sections, and what the node can go by until it is started again: all that it can take in, and nothing
// of the rest.
func Changes(now, next Config) (all []Change, taken Config) {
	taken = now
	taken.Storage.SubPaths = slices.Clone(now.Storage.SubPaths)
	for _, p := range partsOf(now, next) {
		if !p.same(&now, &next) {
			all = append(all, Change{p.path, p.restart})
		}
		if !p.restart {
			p.take(&taken, &next)
		}
	}
	return all, taken
}

// part is what a key, or a section, comes to in a Config.
type part struct {
	path    string // of the key
	restart bool
	same    func(a, b *Config) bool
	take    func(into, from *Config)
}

// live is a part that a node takes in while it runs.
func live[T any](path string, of func(c *Config) *T) part {
	return part{
		path: path,
		same: func(a, b *Config) bool { return reflect.DeepEqual(of(a), of(b)) },
		take: func(into, from *Config) { *of(into) = *of(from) },
	}
}

// fixed is a part that a node is started with.
func fixed[T any](path string, of func(c *Config) *T) part {
	p := live(path, of)
	p.restart = true
	return p
}

// partsOf are all that two configurations have; each field of a Config is in one of them.
func partsOf(a, b Config) []part {
	all := slices.Concat(
		[]part{fixed("distSpecVersion", func(c *Config) *string { return &c.DistSpecVersion })},
		storageParts(a, b), httpParts(), loginParts(),
		[]part{
			live("log.level", func(c *Config) *string { return &c.Log.Level }),
			fixed("log.output", func(c *Config) *string { return &c.Log.Output }),
			fixed("log.audit", func(c *Config) *string { return &c.Log.Audit }),
		},
		clusterParts(a.Cluster.Alone != b.Cluster.Alone),
		[]part{
			live("scheduler.numWorkers", func(c *Config) *int { return &c.Workers }),
			live("extensions.scrub", func(c *Config) *Scrub { return &c.Extensions.Scrub }),
			live("extensions.apikey", func(c *Config) *bool { return &c.Extensions.APIKeys }),
			live("extensions.mgmt", func(c *Config) *bool { return &c.Extensions.Mgmt }),
			live("extensions.trust", func(c *Config) *Trust { return &c.Extensions.Trust }),
			live("extensions.userprefs", func(c *Config) *bool { return &c.Extensions.Marks }),
		},
	)
	if a.HTTP.TLS.On() != b.HTTP.TLS.On() { // without the certificates that it counts on, a new way in could let in everybody
		for i, p := range all {
			all[i].restart = p.restart || saysWho(p.path)
		}
	}
	return all
}

// saysWho reports whether a part says who clients are, or what they may do.
func saysWho(path string) bool {
	return path == "http.tls" || path == "http.accessControl" || strings.HasPrefix(path, "http.auth.")
}

func storageParts(a, b Config) []part {
	all := append(
		storeParts("storage.", func(c *Config) *Store { return &c.Storage.Store }),
		live("storage.maxRepos", func(c *Config) *int { return &c.Storage.MaxRepositories }),
	)
	for _, s := range a.Storage.SubPaths {
		if b.Storage.subPath(s.Name) == nil {
			all = append(all, onlyHere(s))
			continue
		}
		all = append(all, storeParts(s.Key(""), func(c *Config) *Store { return &c.Storage.subPath(s.Name).Store })...)
	}
	for _, s := range b.Storage.SubPaths {
		if a.Storage.subPath(s.Name) == nil {
			all = append(all, onlyHere(s))
		}
	}
	return all
}

// subPath returns a store by its name, nil if there is none.
func (s *Storage) subPath(name string) *SubPath {
	if i := slices.IndexFunc(s.SubPaths, func(p SubPath) bool { return p.Name == name }); i >= 0 {
		return &s.SubPaths[i]
	}
	return nil
}

// onlyHere is a store that one of the configurations alone has.
func onlyHere(s SubPath) part {
	return part{path: s.key, restart: true, same: func(_, _ *Config) bool { return false }}
}

// storeParts are those of one store, that both configurations have.
func storeParts(key string, of func(c *Config) *Store) []part {
	return []part{
		fixed(key+"rootDirectory", func(c *Config) *string { return &of(c).RootDirectory }),
		live(key+"dedupe", func(c *Config) *bool { return &of(c).Dedupe }),
		live(key+"gc", func(c *Config) *bool { return &of(c).GC }),
		live(key+"gcDelay", func(c *Config) *time.Duration { return &of(c).GCDelay }),
		live(key+"gcInterval", func(c *Config) *time.Duration { return &of(c).GCInterval }),
		live(key+"gcTimeWindow", func(c *Config) *jobs.Window { return &of(c).GCWindow }),
		live(key+"retention", func(c *Config) *retention.Config { return &of(c).Retention }),
		bucketPart(key, of),
		redirectPart(key, of),
		fixed(key+"cacheDriver", func(c *Config) **Hints { return &of(c).Hints }),
	}
}

// bucketPart is the bucket of a store, but for whether clients are sent there.
func bucketPart(key string, of func(c *Config) *Store) part {
	alike := func(c *Config) *Bucket {
		if of(c).Bucket == nil {
			return nil
		}
		b := *of(c).Bucket
		b.Redirect = false
		return &b
	}
	return part{path: key + "storageDriver", restart: true, same: func(a, b *Config) bool { return reflect.DeepEqual(alike(a), alike(b)) }}
}

// redirectPart is whether clients are sent to the bucket of a store, if it stays one.
func redirectPart(key string, of func(c *Config) *Store) part {
	return part{
		path: key + "redirectBlobURL",
		same: func(a, b *Config) bool {
			one, other := of(a).Bucket, of(b).Bucket
			return one == nil || other == nil || one.Redirect == other.Redirect
		},
		take: func(into, from *Config) {
			one, other := of(into).Bucket, of(from).Bucket
			if one == nil || other == nil {
				return
			}
			taken := *one // the bucket of the configuration that holds is somebody else's too
			taken.Redirect = other.Redirect
			of(into).Bucket = &taken
		},
	}
}

func httpParts() []part {
	return []part{
		fixed("http.address", func(c *Config) *string { return &c.HTTP.Address }),
		fixed("http.port", func(c *Config) *string { return &c.HTTP.Port }),
		live("http.tls", func(c *Config) *ServerTLS { return &c.HTTP.TLS }), // fixed where TLS comes or goes
		live("http.realm", func(c *Config) *string { return &c.HTTP.Auth.Realm }),
		live("http.readTimeout", func(c *Config) *time.Duration { return &c.HTTP.ReadTimeout }),
		live("http.writeTimeout", func(c *Config) *time.Duration { return &c.HTTP.WriteTimeout }),
		live("http.allowOrigin", func(c *Config) *[]string { return &c.HTTP.Origins }),
		live("http.ratelimit", func(c *Config) *[]RateLimit { return &c.HTTP.RateLimits }),
		live("http.externalUrl", func(c *Config) *string { return &c.HTTP.ExternalURL }),
	}
}

// loginParts are what says who clients are, and what they may do.
func loginParts() []part {
	return []part{
		live("http.auth.failDelay", func(c *Config) *time.Duration { return &c.HTTP.Auth.FailDelay }),
		live("http.auth.ldap", func(c *Config) **LDAP { return &c.HTTP.Auth.LDAP }),
		live("http.auth.htpasswd", func(c *Config) *string { return &c.HTTP.Auth.Htpasswd }),
		live("http.auth.openid", func(c *Config) **OpenID { return &c.HTTP.Auth.OpenID }),
		live("http.auth.apikey", func(c *Config) *bool { return &c.HTTP.Auth.APIKeys }),
		live("http.auth.secureSession", func(c *Config) *bool { return &c.HTTP.Auth.SecureCookies }),
		live("http.auth.bearer", func(c *Config) *bool { return &c.HTTP.Auth.Half }),
		live("http.auth.bearer", func(c *Config) **Bearer { return &c.HTTP.Auth.Bearer }),
		live("http.auth.mtls", func(c *Config) **MTLS { return &c.HTTP.Auth.MTLS }),
		live("http.accessControl.metrics", func(c *Config) **MetricsAccess { return &c.HTTP.Auth.Metrics }),
		live("http.accessControl", func(c *Config) **access.Config { return &c.HTTP.Auth.Access }),
	}
}

// clusterParts are one alone where a section comes or goes that makes a node one of many: none of the keys is as it was then.
func clusterParts(other bool) []part {
	if other {
		return []part{fixed("cluster", func(c *Config) *Cluster { return &c.Cluster })}
	}
	return []part{
		fixed("cluster.name", func(c *Config) *string { return &c.Cluster.Name }),
		fixed("cluster.node", func(c *Config) *string { return &c.Cluster.Node }),
		fixed("cluster.zone", func(c *Config) *string { return &c.Cluster.Zone }),
		fixed("cluster.listen", func(c *Config) *string { return &c.Cluster.Listen }),
		fixed("cluster.advertise", func(c *Config) *string { return &c.Cluster.Advertise }),
		fixed("cluster.members", func(c *Config) *[]string { return &c.Cluster.Members }),
		fixed("cluster.bootstrapExpect", func(c *Config) *int { return &c.Cluster.BootstrapExpect }),
		fixed("cluster.secretFile", func(c *Config) *string { return &c.Cluster.SecretFile }),
		fixed("cluster.tls", func(c *Config) *TLS { return &c.Cluster.TLS }),
		live("cluster.replicas", func(c *Config) *int { return &c.Cluster.Replicas }),
		live("cluster.writeAcks", func(c *Config) *int { return &c.Cluster.WriteAcks }),
		fixed("cluster.reads", func(c *Config) *string { return &c.Cluster.Reads }),
		fixed("cluster.timing", func(c *Config) *string { return &c.Cluster.Timing }),
		live("cluster.quotas", func(c *Config) *[]Quota { return &c.Cluster.Quotas }),
		live("cluster.trustedProxies", func(c *Config) *[]netip.Prefix { return &c.Cluster.TrustedProxies }),
	}
}
