package oci_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// The grammar as the distribution specification prints it.
const (
	specName = `^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`
	specTag  = `^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`
)

func TestValidateRepository(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in string
		ok bool
	}{
		"one word":               {"app", true},
		"digit first":            {"3scale/app", true},
		"prefix of another":      {"app-1", true},
		"deep":                   {"a/b/c/d/e/f", true},
		"every separator":        {"a.b_c__d-e---f", true},
		"as long as may be":      {strings.Repeat("a", 255), true},
		"too long":               {strings.Repeat("a", 256), false},
		"empty":                  {"", false},
		"slash alone":            {"/", false},
		"slash first":            {"/a", false},
		"slash last":             {"a/", false},
		"empty component":        {"a//b", false},
		"upper case":             {"App", false},
		"separator first":        {"-a", false},
		"separator last":         {"a-", false},
		"three underscores":      {"a___b", false},
		"two dots":               {"a..b", false},
		"mixed separators":       {"a.-b", false},
		"parent directory":       {"a/../b", false},
		"catalog":                {"_catalog", false},
		"colon":                  {"a:b", false},
		"line feed at the end":   {"a\n", false},
		"not ASCII":              {"café", false},
		"zero byte":              {"a\x00b", false},
		"component is separator": {"a/-/b", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := oci.ValidateRepository(test.in)
			if test.ok != (err == nil) || err != nil && !errors.Is(err, oci.ErrNameInvalid) {
				t.Errorf("%q: %v", test.in, err)
			}
		})
	}
}

func TestValidateTag(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in string
		ok bool
	}{
		"latest":               {"latest", true},
		"every kind":           {"_V1.0-rc_2", true},
		"as long as may be":    {strings.Repeat("a", 128), true},
		"too long":             {strings.Repeat("a", 129), false},
		"empty":                {"", false},
		"dot first":            {".a", false},
		"dash first":           {"-a", false},
		"slash":                {"a/b", false},
		"plus":                 {"1.0+build", false},
		"line feed at the end": {"a\n", false},
		"not ASCII":            {"é", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := oci.ValidateTag(test.in)
			if test.ok != (err == nil) || err != nil && !errors.Is(err, oci.ErrTagInvalid) {
				t.Errorf("%q: %v", test.in, err)
			}
		})
	}
}

func TestParseReference(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x")
	for name, test := range map[string]struct {
		in   string
		want oci.Reference
		err  error
	}{
		"tag":                      {"v1", oci.Reference{Tag: "v1"}, nil},
		"digest":                   {d.String(), oci.Reference{Digest: d}, nil},
		"tag that looks like hex":  {d.Encoded(), oci.Reference{Tag: d.Encoded()}, nil},
		"unsupported algorithm":    {"md5:" + d.Encoded(), oci.Reference{}, oci.ErrDigestInvalid},
		"bad digest":               {"sha256:baddigeststring", oci.Reference{}, oci.ErrDigestInvalid},
		"bad tag":                  {"-v1", oci.Reference{}, oci.ErrTagInvalid},
		"empty":                    {"", oci.Reference{}, oci.ErrTagInvalid},
		"tag and digest, as typed": {"v1@" + d.String(), oci.Reference{}, oci.ErrDigestInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := oci.ParseReference(test.in)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %+v, %v", got, err)
			}
			if err == nil && got.String() != test.in {
				t.Errorf("prints as %q", got)
			}
		})
	}
}

func FuzzValidateRepository(f *testing.F) {
	for _, seed := range []string{"app", "app-1", "app/x", "a.b_c__d---e/f", "a..b", "a/", "", "é"} {
		f.Add(seed)
	}
	spec := regexp.MustCompile(specName)
	f.Fuzz(func(t *testing.T, s string) {
		err := oci.ValidateRepository(s)
		if want := spec.MatchString(s) && len(s) <= oci.MaxRepository; want != (err == nil) {
			t.Fatalf("%q: got %v, the specification's expression says %v", s, err, want)
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{"latest", "_V1.0-rc_2", "-x", "", "sha256:" + strings.Repeat("a", 64), "a:b", "é"} {
		f.Add(seed)
	}
	spec := regexp.MustCompile(specTag)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := oci.ParseReference(s)
		if err != nil {
			if spec.MatchString(s) || !errors.Is(err, oci.ErrTagInvalid) && !errors.Is(err, oci.ErrDigestInvalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if (r.Tag == "") == (r.Digest == "") || r.String() != s {
			t.Fatalf("%q was taken as %+v", s, r)
		}
		if r.Tag != "" && !spec.MatchString(s) {
			t.Fatalf("%q was taken as a tag", s)
		}
	})
}
