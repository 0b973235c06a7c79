package signed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/auth/signed"
)

const (
	payload = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundle  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	jws     = "application/jose+json"
	cose    = "application/cose"

	annotation = "dev.cosignproject.cosign/signature"
)

// beside returns the manifests beside an image.
func (r *repository) beside(image v1.Descriptor) []v1.Manifest {
	var all []v1.Manifest
	for _, d := range r.about[image.Digest] {
		all = append(all, r.manifest(d.Digest))
	}
	return all
}

// besideOf returns the manifest beside an image whose layer has a media type.
func (r *repository) besideOf(image v1.Descriptor, mediaType string) v1.Manifest {
	all := r.beside(image)
	return all[slices.IndexFunc(all, func(m v1.Manifest) bool { return m.Layers[0].MediaType == mediaType })]
}

// What is true of one image says nothing of another.
func TestMovedSignatures(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	unsigned := r.image("unsigned")

	r.tags[sigTag(unsigned)] = r.tags[sigTag(r.image("old"))]
	for _, from := range []string{"referrer", "new", "notation"} {
		for _, m := range r.beside(r.image(from)) {
			r.attach(m, unsigned)
		}
	}
	in(t, 2030, func(t *testing.T) {
		t.Helper()
		want := append(slices.Repeat([]string{"cosign untrusted"}, 11), "notation untrusted "+builder, "notation untrusted "+builder)
		if found := sorted(of(t, r, unsigned, everybody()...)); !slices.Equal(found, want) {
			t.Errorf("found %q, want %q", found, want)
		}
	})
}

// Notation signs what kind of manifest it is, and how large, too.
func TestAnotherDescriptor(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	in(t, 2030, func(t *testing.T) {
		t.Helper()
		for _, change := range []func(*v1.Descriptor){
			func(d *v1.Descriptor) { d.Size++ },
			func(d *v1.Descriptor) { d.MediaType = v1.MediaTypeImageIndex },
		} {
			image := r.image("both")
			change(&image)
			want := []string{"cosign p256", "notation untrusted " + builder}
			if found := sorted(of(t, r, image, everybody()...)); !slices.Equal(found, want) {
				t.Errorf("found %q, want %q", found, want)
			}
		}
	})
}

// changed says what becomes of a signature whose one layer has other bytes.
type changed struct {
	from  string // an image
	layer string // the media type
	to    func(string) string
	want  []string
}

func TestChangedContent(t *testing.T) {
	t.Parallel()
	bomb := func(open, end string) func(string) string {
		return func(string) string { return strings.Repeat(open, 200_000) + strings.Repeat(end, 200_000) }
	}
	instead := func(text string) func(string) string { return func(string) string { return text } }
	deep := "\xd2\x84\x40\xa0\x40\x40"
	others := map[string]changed{
		"payload for another name": {"referrer", payload, func(s string) string { return strings.Replace(s, "/app", "/apps", 1) }, []string{"cosign untrusted"}},
		"payload of blanks":        {"referrer", payload, func(s string) string { return " " + s }, []string{"cosign untrusted"}},
		"statement of blanks": {"both", bundle, func(s string) string {
			return inPayload(s, func(s string) string { return s + " " })
		}, []string{"cosign untrusted", "notation " + builder}},
		"another predicate": {"both", bundle, func(s string) string {
			return inPayload(s, func(s string) string { return strings.Replace(s, "sign/v1", "sign/v2", 1) })
		}, []string{"notation " + builder}},
		"another kind of statement": {"both", bundle, func(s string) string {
			return strings.Replace(s, "application/vnd.in-toto+json", "application/vnd.in-toto", 1)
		}, []string{"cosign untrusted", "notation " + builder}},
		"two signatures in a bundle": {"both", bundle, func(s string) string {
			return strings.TrimSuffix(s, "]}}") + `,{"sig":"AAAA"}]}}`
		}, []string{"cosign untrusted", "notation " + builder}},
		"none in a bundle": {"both", bundle, func(s string) string {
			before, _, _ := strings.Cut(s, `"signatures":[`)
			return before + `"signatures":[]}}`
		}, []string{"cosign untrusted", "notation " + builder}},
		"a message in a bundle": {"both", bundle, instead(
			`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAA"},"signature":"AAAA"}}`,
		), []string{"cosign untrusted", "notation " + builder}},
		"JWS with another header": {"both", jws, func(s string) string {
			return strings.Replace(s, `"protected":"`, `"protected":"e30`, 1)
		}, []string{"cosign p256", "notation untrusted"}},
		"JWS without certificates": {"both", jws, func(s string) string {
			return strings.Replace(s, `"x5c"`, `"x5d"`, 1)
		}, []string{"cosign p256", "notation untrusted"}},
		"COSE called JWS": {"notation", jws, func(string) string {
			r := recorded(t)
			return string(r.content[r.besideOf(r.image("notation"), cose).Layers[0].Digest])
		}, []string{"notation " + builder, "notation untrusted"}},
	}
	for _, l := range []struct{ from, layer, rest, what string }{
		{"referrer", payload, "", "cosign untrusted"},
		{"both", bundle, "notation " + builder, "cosign untrusted"},
		{"both", jws, "cosign p256", "notation untrusted"},
		{"notation", cose, "notation " + builder, "notation untrusted"},
	} {
		want := slices.DeleteFunc([]string{l.what, l.rest}, func(s string) bool { return s == "" })
		slices.Sort(want)
		for name, to := range map[string]func(string) string{
			"empty": instead(""), "null": instead("null"), "no object": instead("[]"), "no values": instead("{}"),
			"cut off":              func(s string) string { return s[:len(s)/2] },
			"without its end":      func(s string) string { return s[:len(s)-1] },
			"followed by more":     func(s string) string { return s + "x" },
			"a bomb":               bomb("[", "]"),
			"another bomb":         bomb(`{"critical":`, "}"),
			"a bomb in COSE":       instead(deep + strings.Repeat("\x81", 200_000)),
			"a large array":        instead("[" + strings.Repeat("0,", 400_000) + "0]"),
			"too large":            func(s string) string { return s + strings.Repeat(" ", 1<<20) },
			"large numbers":        instead(`{"header":{"x5c":1e999999},"critical":{"type":1e999999},"dsseEnvelope":{"payload":1e9999}}`),
			"certificates of none": instead(`{"header":{"x5c":["AAAA","AAAA"]},"payload":"e30","protected":"e30","signature":"AAAA"}`),
		} {
			others[name+", "+l.layer] = changed{l.from, l.layer, to, want}
		}
	}
	for name, test := range others {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recorded(t)
			image := r.image(test.from)
			whole := r.beside(image)
			r.about[image.Digest] = nil
			for i, m := range whole {
				if m.Layers[0].MediaType == test.layer {
					before := string(r.content[m.Layers[0].Digest])
					after := test.to(before)
					if after == before {
						t.Fatal("nothing has changed")
					}
					d := r.blob(test.layer, []byte(after))
					d.Annotations = m.Layers[0].Annotations
					m.Layers[0] = d
				}
				m.Annotations = map[string]string{"n": fmt.Sprint(i)}
				r.attach(m, image)
			}
			in(t, 2030, func(t *testing.T) {
				t.Helper()
				if found := sorted(of(t, r, image, everybody()...)); !slices.Equal(found, test.want) {
					t.Errorf("found %q, want %q", found, test.want)
				}
			})
		})
	}
}

// inPayload changes the statement in a bundle.
func inPayload(s string, change func(string) string) string {
	var b struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal([]byte(s), &b); err != nil {
		panic(err)
	}
	encoded := base64.StdEncoding.EncodeToString
	return strings.Replace(s, encoded(b.Envelope.Payload), encoded([]byte(change(string(b.Envelope.Payload)))), 1)
}

// Manifests that are not what their type says have one signature, which is not trusted.
func TestChangedManifests(t *testing.T) {
	t.Parallel()
	for _, from := range []struct{ image, layer, want string }{
		{"referrer", payload, "cosign untrusted"}, {"new", bundle, "cosign untrusted"}, {"notation", jws, "notation untrusted"},
	} {
		for name, test := range map[string]struct {
			change func(*v1.Manifest)
			want   []string // nil: from.want
		}{
			"twice the layer":          {func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, nil},
			"another media type":       {func(m *v1.Manifest) { m.Layers[0].MediaType = "application/json" }, nil},
			"no layers":                {func(m *v1.Manifest) { m.Layers = nil }, nil},
			"a layer not there":        {func(m *v1.Manifest) { m.Layers[0].Digest = digest.FromString("else") }, nil},
			"a layer of no bytes":      {func(m *v1.Manifest) { m.Layers[0].Digest, m.Layers[0].Size = digest.FromString(""), 0 }, nil},
			"a layer said to be large": {func(m *v1.Manifest) { m.Layers[0].Size = 1 << 40 }, nil},
			"a manifest too large":     {func(m *v1.Manifest) { m.Annotations = map[string]string{"a": strings.Repeat("a", 1<<20)} }, nil},
		} {
			t.Run(from.image+", "+name, func(t *testing.T) {
				t.Parallel()
				r := recorded(t)
				image := r.image(from.image)
				m := r.besideOf(image, from.layer)
				r.about[image.Digest] = nil
				test.change(&m)
				r.attach(m, image)
				want := []string{from.want}
				if from.layer == payload { // there each layer of that type is a signature
					switch name {
					case "twice the layer":
						want = []string{"cosign p256", "cosign p256"}
					case "no layers", "another media type":
						want = nil
					}
				}
				in(t, 2030, func(t *testing.T) {
					t.Helper()
					if found := lines(of(t, r, image, everybody()...)); !slices.Equal(found, want) {
						t.Errorf("found %q, want %q", found, want)
					}
				})
			})
		}
	}
}

// What is under the tag of an image's signatures may be anything.
func TestUnderTheTag(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want []string
	}{
		"an index":     {`{"schemaVersion":2,"manifests":[]}`, nil},
		"no JSON":      {`{`, []string{"cosign untrusted"}},
		"no layers":    {`{"schemaVersion":2}`, nil},
		"no signature": {`{"layers":[{"mediaType":"` + payload + `","digest":"` + digest.FromString("").String() + `"}]}`, []string{"cosign untrusted"}},
		"no digest":    {`{"layers":[{"mediaType":"` + payload + `","annotations":{"` + annotation + `":"AAAA"}}]}`, []string{"cosign untrusted"}},
		"no base64":    {`{"layers":[{"mediaType":"` + payload + `","annotations":{"` + annotation + `":"="}}]}`, []string{"cosign untrusted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recorded(t)
			image := r.image("unsigned")
			r.tags[sigTag(image)] = r.put([]byte(test.body))
			if found := lines(of(t, r, image, everybody()...)); !slices.Equal(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

// Attestations are known by what they say; the annotation only spares to read them.
func TestAttestations(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("attested")
	m := r.besideOf(image, bundle)
	if found := of(t, r, image, everybody()...); len(found) != 0 || r.reads != 0 {
		t.Errorf("found %v after %d reads", found, r.reads)
	}
	m.Annotations = nil
	r.attach(m, image)
	m.Annotations = map[string]string{"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}
	r.attach(m, image)
	if found := of(t, r, image, everybody()...); len(found) != 0 || r.reads != 1 {
		t.Errorf("found %v after %d reads", found, r.reads)
	}
}

// signer signs as cosign does, whatever it is told to.
type signer struct {
	key     *ecdsa.PrivateKey
	trusted signed.Trusted
}

func newSigner() signer {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&k.PublicKey))})
	return signer{k, signed.Trusted{Tool: signed.Cosign, Content: block}}
}

func (s signer) sign(message string) string {
	sum := sha256.Sum256([]byte(message))
	return base64.StdEncoding.EncodeToString(must(ecdsa.SignASN1(rand.Reader, s.key, sum[:])))
}

// payload returns a layer.
func (s signer) payload(r *repository, text string) v1.Descriptor {
	d := r.blob(payload, []byte(text))
	d.Annotations = map[string]string{annotation: s.sign(text)}
	return d
}

// bundle attaches one.
func (s signer) bundle(r *repository, image v1.Descriptor, text, over string) {
	body := fmt.Sprintf(`{"dsseEnvelope":{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":%q}]}}`,
		base64.StdEncoding.EncodeToString([]byte(text)), s.sign(over))
	r.attach(v1.Manifest{ArtifactType: bundle, Layers: []v1.Descriptor{r.blob(bundle, []byte(body))}}, image)
}

func pae(text string) string {
	return fmt.Sprintf("DSSEv1 28 application/vnd.in-toto+json %d %s", len(text), text)
}

// Whoever is trusted signs many things. Only what says so signs the image.
func TestWhatElseIsSigned(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("unsigned")
	s := newSigner()
	payloadFor := func(kind string, d digest.Digest) string {
		return fmt.Sprintf(`{"critical":{"identity":{"docker-reference":"app"},"image":{"docker-manifest-digest":%q},"type":%q},"optional":null}`, d, kind)
	}
	const kind = "cosign container image signature"
	another := digest.FromString("another")
	var layers []v1.Descriptor
	for _, text := range []string{
		payloadFor(kind, image.Digest),
		payloadFor("atomic container signature", image.Digest),
		payloadFor("", image.Digest),
		payloadFor(kind, another),
		payloadFor(kind, "sha512:"+digest.Digest(image.Digest.Encoded())),
		`{"optional":` + payloadFor(kind, image.Digest) + `}`,
		string(r.content[image.Digest]),
		payloadFor(kind, image.Digest) + strings.Repeat(" ", 64<<10),
	} {
		layers = append(layers, s.payload(r, text))
	}
	r.payloads(v1.Manifest{Layers: layers}, image)
	want := append([]string{"cosign"}, slices.Repeat([]string{"cosign untrusted"}, len(layers)-1)...)
	words := func(all []signed.Signature) []string {
		var words []string
		for _, one := range all {
			words = append(words, strings.TrimSpace(strings.TrimSuffix(line(one), string(s.trusted.Content))))
		}
		return words
	}
	if found := words(of(t, r, image, s.trusted)); !slices.Equal(found, want) {
		t.Errorf("payloads: found %q, want %q", found, want)
	}

	statement := func(kind, predicate, alg, hex string) string {
		return fmt.Sprintf(`{"_type":%q,"subject":[{"digest":{"sha256":"00"}},{"digest":{%q:%q}}],"predicateType":%q,"predicate":{}}`, kind, alg, hex, predicate)
	}
	const inToto, sign = "https://in-toto.io/Statement/v1", "https://sigstore.dev/cosign/sign/v1"
	for name, test := range map[string]struct {
		text string
		over func(string) string
		want []string
	}{
		"signed":                  {statement(inToto, sign, "sha256", image.Digest.Encoded()), pae, []string{"cosign"}},
		"as before version 1":     {statement("https://in-toto.io/Statement/v0.1", sign, "sha256", image.Digest.Encoded()), pae, []string{"cosign"}},
		"without the encoding":    {statement(inToto, sign, "sha256", image.Digest.Encoded()), func(s string) string { return s }, []string{"cosign untrusted"}},
		"no statement":            {statement("https://in-toto.io/Link/v1", sign, "sha256", image.Digest.Encoded()), pae, []string{"cosign untrusted"}},
		"another image":           {statement(inToto, sign, "sha256", another.Encoded()), pae, []string{"cosign untrusted"}},
		"by another algorithm":    {statement(inToto, sign, "sha512", image.Digest.Encoded()), pae, []string{"cosign untrusted"}},
		"an attestation":          {statement(inToto, "https://slsa.dev/provenance/v1", "sha256", image.Digest.Encoded()), pae, nil},
		"of nothing":              {statement(inToto, "", "sha256", image.Digest.Encoded()), pae, []string{"cosign untrusted"}},
		"larger than a payload":   {statement(inToto, sign, "sha256", image.Digest.Encoded()) + strings.Repeat(" ", 64<<10), pae, []string{"cosign untrusted"}},
		"a payload of older form": {payloadFor(kind, image.Digest), func(s string) string { return s }, []string{"cosign untrusted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recorded(t)
			s.bundle(r, image, test.text, test.over(test.text))
			if found := words(of(t, r, image, s.trusted)); !slices.Equal(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

// Whoever may push may push much.
func TestMany(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ layers, referrers int }{{60, 80}, {101, 0}, {0, 101}, {100, 100}} {
		for _, kind := range []struct{ image, layer string }{{"referrer", payload}, {"both", bundle}, {"both", jws}} {
			r := recorded(t)
			image := r.image(kind.image)
			m := r.besideOf(image, kind.layer)
			layers := slices.Repeat(r.besideOf(r.image("referrer"), payload).Layers, test.layers)
			r.about[image.Digest] = nil
			r.payloads(v1.Manifest{Layers: layers}, image)
			for i := range test.referrers {
				one := m
				one.Annotations = map[string]string{"n": fmt.Sprint(i)}
				r.attach(one, image)
			}
			if found := of(t, r, image, everybody()...); len(found) != min(test.layers, 100)+min(test.referrers, 100) {
				t.Errorf("found %d signatures, with %d layers and %d manifests of %s", len(found), test.layers, test.referrers, kind.layer)
			}
		}
	}
}

// One manifest of many signatures hides none that are of another form.
func TestManyOfOneForm(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("both")
	junk := r.blob(payload, []byte("{}"))
	junk.Annotations = map[string]string{annotation: "AAAA"}
	many := v1.Manifest{ArtifactType: "application/vnd.dev.cosign.artifact.sig.v1+json", Layers: slices.Repeat([]v1.Descriptor{junk}, 200)}
	r.payloads(many, image)
	for i := range 20 { // some of them come before what is there
		many.Annotations, many.Layers = map[string]string{"n": fmt.Sprint(i)}, many.Layers[:60]
		r.attach(many, image)
	}
	want := append([]string{"cosign p256"}, slices.Repeat([]string{"cosign untrusted"}, 200)...)
	want = append(want, "notation "+builder)
	in(t, 2030, func(t *testing.T) {
		t.Helper()
		if found := sorted(of(t, r, image, everybody()...)); !slices.Equal(found, want) {
			t.Errorf("found %d, want %d: %q", len(found), len(want), found)
		}
	})
}

// A call reads no more than 16 MiB, and of each signature no more than a mebibyte.
func TestMuch(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("unsigned")
	for i := range 50 {
		d := r.blob(bundle, fmt.Appendf(nil, "%d%s", i, strings.Repeat(" ", 1<<20-10)))
		r.attach(v1.Manifest{ArtifactType: bundle, Layers: []v1.Descriptor{d}}, image)
	}
	if found := of(t, r, image, everybody()...); len(found) != 50 || r.reads != 15 || r.most != 1<<20 {
		t.Errorf("found %d signatures after %d reads of at most %d bytes", len(found), r.reads, r.most)
	}
}

// Manifests that are too large are not read, and take nothing from the others.
func TestLargeManifests(t *testing.T) {
	t.Parallel()
	for _, from := range []struct{ image, kind string }{
		{"referrer", "application/vnd.dev.cosign.artifact.sig.v1+json"}, {"new", bundle}, {"notation", "application/vnd.cncf.notary.signature"},
	} {
		r := recorded(t)
		image := r.image(from.image)
		in(t, 2030, func(t *testing.T) {
			t.Helper()
			want := sorted(of(t, r, image, everybody()...))
			for i := range 20 {
				r.attach(v1.Manifest{ArtifactType: from.kind, Annotations: map[string]string{"a": strings.Repeat(string(rune('a'+i)), 4<<20-2000)}}, image)
				tool, _, _ := strings.Cut(want[0], " ")
				want = append(want, tool+" untrusted")
			}
			slices.Sort(want)
			if found := sorted(of(t, r, image, everybody()...)); !slices.Equal(found, want) || r.mostManifest != 1<<20 {
				t.Errorf("found %q, want %q; manifests of %d bytes were asked for", found, want, r.mostManifest)
			}
		})
	}
}

// What may not be read any more is found, and not trusted: else a signed image would be an unsigned one.
func TestBeyondWhatIsRead(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("both")
	for i := range 40 {
		r.attach(v1.Manifest{ArtifactType: bundle, Annotations: map[string]string{
			"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1", "a": strings.Repeat(string(rune('A'+i)), 1<<20-2000),
		}}, image)
	}
	found := of(t, r, image, everybody()...)
	tools := map[signed.Tool]int{}
	for _, s := range found {
		tools[s.Tool]++
	}
	if tools[signed.Notation] != 1 || tools[signed.Cosign] < 40-16 {
		t.Errorf("found %v", tools)
	}
}

// What else an image has, as what is in it, hides no signature, however much there is.
func TestAmongManyOthers(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("notation")
	var others []v1.Descriptor
	for n := range 2000 {
		others = append(others, v1.Descriptor{ArtifactType: "application/spdx+json", Digest: digest.FromString(fmt.Sprint("sbom ", n))})
	}
	r.about[image.Digest] = append(others, r.about[image.Digest]...)
	in(t, 2030, func(t *testing.T) {
		t.Helper()
		found, err := signed.Of(t.Context(), r, image, nil)
		if err != nil || len(found) == 0 {
			t.Errorf("%v, %v", found, err)
		}
	})
}
