package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth/access"
)

// example is a configuration with something behind each pointer, so that a test can change a field of it.
func example() Config {
	store := func() Store { return Store{Bucket: &Bucket{}, Hints: &Hints{}} }
	c := Config{Storage: Storage{Store: store()}}
	c.Storage.SubPaths = []SubPath{{Name: "/a", Store: store(), key: "storage.subPaths./a"}}
	c.HTTP.Auth.LDAP = &LDAP{}
	c.HTTP.Auth.Access = &access.Config{}
	c.HTTP.TLS = ServerTLS{Cert: "cert", Key: "key"}
	return c
}

// fields calls do with each exported field that a value of ours is made of, at any depth.
func fields(v reflect.Value, name string, do func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		path := name + "." + field.Name
		switch {
		case !field.IsExported():
		case f.Kind() == reflect.Struct:
			fields(f, path, do)
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct && !f.IsNil() && strings.HasSuffix(f.Type().Elem().PkgPath(), "/config"):
			fields(f.Elem(), path, do)
			do(path, f)
		case f.Kind() == reflect.Slice && f.Len() > 0 && f.Index(0).Kind() == reflect.Struct:
			fields(f.Index(0), path+"[0]", do)
			do(path, f)
		default:
			do(path, f)
		}
	}
}

// alter makes a value another one.
func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		m.SetMapIndex(reflect.Zero(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		v.Set(m)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			return
		}
		v.SetZero()
	default:
		t.Fatalf("the test does not know how to alter a %s", v.Type())
	}
}

// Whoever adds a field to Config says in changes.go whether a node takes it in while it runs.
func TestChangesOfEachField(t *testing.T) {
	t.Parallel()
	var names []string
	fields(reflect.ValueOf(example()), "Config", func(name string, _ reflect.Value) { names = append(names, name) })
	if len(names) < 60 {
		t.Fatalf("only %d fields were found", len(names))
	}
	for i, name := range names {
		now, next, n := example(), example(), 0
		fields(reflect.ValueOf(&next).Elem(), "Config", func(_ string, v reflect.Value) {
			if n == i {
				alter(t, v)
			}
			n++
		})
		all, taken := Changes(now, next)
		restart := slices.ContainsFunc(all, func(c Change) bool { return c.Restart })
		switch {
		case len(all) == 0:
			t.Errorf("%s: no key differs: add it to changes.go", name)
		case restart && !reflect.DeepEqual(taken, now):
			t.Errorf("%s: %+v, and yet %+v is taken in", name, all, taken)
		case !restart && !reflect.DeepEqual(taken, next):
			t.Errorf("%s: %+v, and yet %+v is taken in", name, all, taken)
		}
		if again := example(); !reflect.DeepEqual(now, again) {
			t.Fatalf("%s: the configuration that was compared is another now: %+v", name, now)
		}
		if all, _ := Changes(taken, taken); len(all) > 0 {
			t.Errorf("%s: nothing differs, and yet %+v", name, all)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	const (
		holds   = ""
		restart = "!"
	)
	for name, test := range map[string]struct {
		change func(c *Config)
		want   []string
	}{
		"nothing":            {func(*Config) {}, nil},
		"rules":              {func(c *Config) { c.HTTP.Auth.Access = nil }, []string{holds + "http.accessControl"}},
		"a method":           {func(c *Config) { c.HTTP.Auth.Htpasswd = "file" }, []string{holds + "http.auth.htpasswd"}},
		"a password":         {func(c *Config) { c.HTTP.Auth.LDAP = &LDAP{BindPassword: "secret"} }, []string{holds + "http.auth.ldap"}},
		"port and address":   {func(c *Config) { c.HTTP.Address, c.HTTP.Port = "::", "1" }, []string{restart + "http.address", restart + "http.port"}},
		"the level":          {func(c *Config) { c.Log.Level = "warn" }, []string{holds + "log.level"}},
		"gc":                 {func(c *Config) { c.Storage.GC, c.Storage.GCInterval = true, time.Hour }, []string{holds + "storage.gc", holds + "storage.gcInterval"}},
		"gc of a sub-path":   {func(c *Config) { c.Storage.SubPaths[0].GC = true }, []string{holds + "storage.subPaths./a.gc"}},
		"a sub-path is gone": {func(c *Config) { c.Storage.SubPaths = nil }, []string{restart + "storage.subPaths./a"}},
		"a sub-path more": {func(c *Config) {
			c.Storage.SubPaths = append(c.Storage.SubPaths, SubPath{Name: "/b", key: "storage.subPaths./b"})
		}, []string{restart + "storage.subPaths./b"}},
		"the directory":        {func(c *Config) { c.Storage.RootDirectory = "x" }, []string{restart + "storage.rootDirectory"}},
		"redirects":            {func(c *Config) { c.Storage.Bucket.Redirect = true }, []string{holds + "storage.redirectBlobURL"}},
		"the bucket":           {func(c *Config) { c.Storage.Bucket.Name, c.Storage.Bucket.Redirect = "b", true }, []string{restart + "storage.storageDriver", holds + "storage.redirectBlobURL"}},
		"no bucket":            {func(c *Config) { c.Storage.Bucket = nil }, []string{restart + "storage.storageDriver"}},
		"proxies":              {func(c *Config) { c.Cluster.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, []string{holds + "cluster.trustedProxies"}},
		"other certificates":   {func(c *Config) { c.HTTP.TLS.Cert, c.HTTP.TLS.ClientCA = "other", "ca" }, []string{holds + "http.tls"}},
		"no TLS, and no login": {func(c *Config) { c.HTTP.TLS, c.HTTP.Auth.LDAP = ServerTLS{}, nil }, []string{restart + "http.tls", restart + "http.auth.ldap"}},
		"no cluster":           {func(c *Config) { c.Cluster.Alone, c.Cluster.Replicas = true, 1 }, []string{restart + "cluster"}},
	} {
		next := example()
		test.change(&next)
		all, _ := Changes(example(), next)
		var got []string
		for _, c := range all {
			mark := holds
			if c.Restart {
				mark = restart
			}
			got = append(got, mark+c.Key)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// What a node takes in is its own: it has nothing in common with what it went by before that somebody could change.
func TestChangesTakesACopy(t *testing.T) {
	t.Parallel()
	now, next := example(), example()
	next.Storage.SubPaths[0].GC, next.Storage.SubPaths[0].Bucket.Redirect, next.Storage.SubPaths[0].Bucket.Name = true, true, "other"
	_, taken := Changes(now, next)
	s := taken.Storage.SubPaths[0]
	if !s.GC || !s.Bucket.Redirect || s.Bucket.Name != "" {
		t.Errorf("%+v, %+v", s, s.Bucket)
	}
	if was := now.Storage.SubPaths[0]; was.GC || was.Bucket.Redirect {
		t.Errorf("what was compared is now %+v, %+v", was, was.Bucket)
	}
}
