package signed_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/auth/signed"
)

const (
	builder = "CN=Builder,O=Example,ST=Berlin,C=DE"
	brief   = "CN=Brief,O=Example,C=DE"
)

// in runs a test in a year.
func in(t *testing.T, year int, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)))
		test(t)
	})
}

// of fails the test if it cannot be told who has signed.
func of(t *testing.T, r signed.Repository, image v1.Descriptor, trusted ...signed.Trusted) []signed.Signature {
	t.Helper()
	found, err := signed.Of(t.Context(), r, image, trusted)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatToolsHaveSigned(t *testing.T) {
	t.Parallel()
	all := everybody()
	without := func(i int) []signed.Trusted { return slices.Delete(slices.Clone(all), i, i+1) }
	for name, test := range map[string]struct {
		image   string
		trusted []signed.Trusted
		year    int
		want    []string
	}{
		"nobody":                    {"unsigned", all, 2030, nil},
		"older form":                {"old", all, 2030, []string{"cosign ed25519", "cosign p256", "cosign p384", "cosign p521", "cosign rsa"}},
		"older form as referrer":    {"referrer", all, 2030, []string{"cosign p256"}},
		"newer form":                {"new", all, 2030, []string{"cosign ed25519", "cosign p256", "cosign p384", "cosign p521", "cosign rsa"}},
		"RSA key in PKCS 1":         {"new", []signed.Trusted{publicKey("rsa-pkcs1")}, 2030, []string{"cosign rsa", "cosign untrusted", "cosign untrusted", "cosign untrusted", "cosign untrusted"}},
		"another key":               {"another", all, 2030, []string{"cosign untrusted", "cosign untrusted"}},
		"the other key":             {"another", []signed.Trusted{publicKey("another")}, 2030, []string{"cosign another", "cosign another"}},
		"a key that was removed":    {"both", without(0), 2030, []string{"cosign untrusted", "notation " + builder}},
		"attestations":              {"attested", all, 2030, nil},
		"notation, JWS and COSE":    {"notation", all, 2030, []string{"notation " + builder, "notation " + builder}},
		"both tools":                {"both", all, 2030, []string{"cosign p256", "notation " + builder}},
		"an index":                  {"index", all, 2030, []string{"cosign p256", "notation " + builder}},
		"no keys":                   {"both", nil, 2030, []string{"cosign untrusted", "notation untrusted " + builder}},
		"root that was removed":     {"both", without(5), 2030, []string{"cosign p256", "notation untrusted " + builder}},
		"another root":              {"notation", []signed.Trusted{certificate("ca", "stranger")}, 2030, []string{"notation untrusted " + builder, "notation untrusted " + builder}},
		"root of other things":      {"both", []signed.Trusted{certificate("tsa", "root"), certificate("signingAuthority", "root")}, 2030, []string{"cosign untrusted", "notation untrusted " + builder}},
		"a leaf is no root":         {"both", []signed.Trusted{certificate("ca", "leaf")}, 2030, []string{"cosign untrusted", "notation untrusted " + builder}},
		"beside what is no root":    {"both", []signed.Trusted{certificate("ca", "leaf"), {Tool: signed.Cosign}, {}, certificate("ca", "root")}, 2030, []string{"cosign untrusted", "notation " + builder}},
		"before it was valid":       {"both", all, 2020, []string{"cosign p256", "notation untrusted " + builder}},
		"certificate has expired":   {"both", all, 2130, []string{"cosign p256", "notation untrusted " + builder}},
		"by the clock":              {"timestamped", append(everybody(), certificate("tsa", "clock")), 2030, []string{"notation " + brief, "notation " + brief}},
		"by no clock":               {"timestamped", all, 2030, []string{"notation untrusted " + brief, "notation untrusted " + brief}},
		"by another clock":          {"timestamped", append(everybody(), certificate("tsa", "root")), 2030, []string{"notation untrusted " + brief, "notation untrusted " + brief}},
		"by the clock, long after":  {"timestamped", append(everybody(), certificate("tsa", "clock")), 2130, []string{"notation " + brief, "notation " + brief}},
		"signature has not expired": {"expiring", all, 2070, []string{"notation " + builder}},
		"signature has expired":     {"expiring", all, 2080, []string{"notation untrusted " + builder}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recorded(t)
			in(t, test.year, func(t *testing.T) {
				t.Helper()
				if found := sorted(of(t, r, r.image(test.image), test.trusted...)); !slices.Equal(found, test.want) {
					t.Errorf("found %q, want %q", found, test.want)
				}
			})
		})
	}
}

// Layers keep the order that they were signed in; manifests have that of their digests, however a repository lists them.
func TestOrder(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	want := []string{"cosign p256", "cosign p384", "cosign p521", "cosign rsa", "cosign ed25519"}
	found := of(t, r, r.image("old"), everybody()...)
	if !slices.Equal(lines(found), want) {
		t.Errorf("found %q, want %q", lines(found), want)
	}
	for _, s := range found {
		if s.Digest != r.tags[sigTag(r.image("old"))] {
			t.Errorf("%s has the digest of another manifest", s.Digest)
		}
	}

	image := r.image("new")
	first := of(t, r, image, everybody()...)
	if len(first) != 5 || !slices.IsSortedFunc(first, func(a, b signed.Signature) int { return strings.Compare(a.Digest.String(), b.Digest.String()) }) {
		t.Errorf("found %v, not in the order of digests", first)
	}
	before := slices.Clone(r.about[image.Digest])
	slices.Reverse(r.about[image.Digest])
	listed := slices.Clone(r.about[image.Digest])
	if again := of(t, r, image, everybody()...); !slices.Equal(again, first) {
		t.Errorf("found %v, and %v when they were listed in another order", first, again)
	}
	if slices.EqualFunc(before, listed, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) ||
		!slices.EqualFunc(listed, r.about[image.Digest], func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) {
		t.Error("what the repository has listed was put into another order")
	}
}

// A manifest that is a referrer and has the tag is read once.
func TestOnce(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("referrer")
	r.tags[sigTag(image)] = r.about[image.Digest][0].Digest
	if found := lines(of(t, r, image, everybody()...)); !slices.Equal(found, []string{"cosign p256"}) {
		t.Errorf("found %q", found)
	}
}

// Whoever may push gives the tag to whatever they want: it hides nothing.
func TestTagOfAnotherForm(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	in(t, 2030, func(t *testing.T) {
		t.Helper()
		for _, name := range []string{"notation", "new", "both", "referrer", "attested"} {
			image := r.image(name)
			want := sorted(of(t, r, image, everybody()...))
			for _, d := range r.about[image.Digest] {
				r.tags[sigTag(image)] = d.Digest
				if found := sorted(of(t, r, image, everybody()...)); !slices.Equal(found, want) {
					t.Errorf("%s, with the tag on %s: found %q, want %q", name, d.ArtifactType, found, want)
				}
			}
		}
	})
}

// One payload that several have signed is read once.
func TestSharedPayload(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	if found := of(t, r, r.image("old"), everybody()...); len(found) != 5 || r.reads != 1 {
		t.Errorf("found %d signatures after reading %d blobs", len(found), r.reads)
	}
}

// broken fails where it is told to.
type broken struct {
	*repository

	where string
	err   error
}

func (b broken) Tagged(ctx context.Context, tag string) (digest.Digest, bool, error) {
	if b.where == "tag" {
		return "", false, b.err
	}
	return b.repository.Tagged(ctx, tag)
}

func (b broken) Referrers(ctx context.Context, d digest.Digest, artifactType string, n int) ([]digest.Digest, error) {
	if b.where == "referrers" {
		return nil, b.err
	}
	return b.repository.Referrers(ctx, d, artifactType, n)
}

func (b broken) Manifest(ctx context.Context, d digest.Digest, most int64) ([]byte, bool, error) {
	if b.where == "manifest" {
		return nil, false, b.err
	}
	return b.repository.Manifest(ctx, d, most)
}

func (b broken) Blob(ctx context.Context, d v1.Descriptor, most int64) ([]byte, bool, error) {
	if b.where == "blob" {
		return nil, false, b.err
	}
	return b.repository.Blob(ctx, d, most)
}

// What cannot be read is an error: to call an image unsigned for it would be a lie.
func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	for _, where := range []string{"tag", "referrers", "manifest", "blob"} {
		for _, image := range []string{"old", "referrer", "new", "notation"} {
			failed := errors.New("the disk is gone")
			found, err := signed.Of(t.Context(), broken{r.clone(), where, failed}, r.image(image), everybody())
			if !errors.Is(err, failed) || found != nil {
				t.Errorf("%s, %s: %v, %v", where, image, found, err)
			}
			// What is not there is another matter.
			found, err = signed.Of(t.Context(), broken{r.clone(), where, nil}, r.image(image), everybody())
			if err != nil || slices.ContainsFunc(found, func(s signed.Signature) bool { return s.Trusted }) && where != "tag" && where != "referrers" {
				t.Errorf("%s, %s, not there: %v, %v", where, image, found, err)
			}
		}
	}
}

func TestContextHasEnded(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	for _, image := range []string{"old", "referrer", "new", "notation"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if found, err := signed.Of(ctx, r, r.image(image), everybody()); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %v", image, found, err)
		}
	}
}
