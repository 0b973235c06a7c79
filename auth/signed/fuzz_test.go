package signed_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/auth/signed"
)

// fuzz has the one layer of a signature beside an image be anything: whatever it is, it is found at most once, and it is trusted only
// where it signs the same.
func fuzz(f *testing.F, from, mediaType string, same func(t *testing.T, one, other []byte) bool) {
	r := recorded(f)
	image := r.image(from)
	m := r.besideOf(image, mediaType)
	whole := r.content[m.Layers[0].Digest]
	f.Add(whole)
	f.Add([]byte("{}"))
	trusted := everybody()
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &repository{content: map[digest.Digest][]byte{}, about: map[digest.Digest][]v1.Descriptor{}}
		one := m
		one.Layers = []v1.Descriptor{r.blob(mediaType, body)}
		one.Layers[0].Annotations = m.Layers[0].Annotations
		r.attach(one, image)
		found := of(t, r, image, trusted...)
		if len(found) > 1 || len(found) == 1 && found[0].Trusted != (found[0].Author != "") && mediaType != jws && mediaType != cose {
			t.Fatalf("found %v", found)
		}
		if len(found) == 1 && found[0].Trusted && !same(t, body, whole) {
			t.Fatal("trusted, though it has been changed")
		}
	})
}

func FuzzPayload(f *testing.F) {
	fuzz(f, "referrer", payload, func(_ *testing.T, one, other []byte) bool { return string(one) == string(other) })
}

func FuzzBundle(f *testing.F) {
	fuzz(f, "both", bundle, func(t *testing.T, one, other []byte) bool {
		t.Helper()
		return statementOf(t, one) == statementOf(t, other)
	})
}

func statementOf(t *testing.T, body []byte) string {
	t.Helper()
	var b struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	return string(b.Envelope.Payload)
}

// What an envelope signs is its library's to read; whatever is changed of that, the signature does not verify.
func FuzzJWS(f *testing.F) {
	fuzz(f, "both", jws, func(t *testing.T, one, other []byte) bool {
		t.Helper()
		read := func(body []byte) (e struct{ Payload, Protected string }) {
			if err := json.Unmarshal(body, &e); err != nil {
				t.Fatal(err)
			}
			return e
		}
		return read(one) == read(other)
	})
}

func FuzzCOSE(f *testing.F) {
	fuzz(f, "notation", cose, func(*testing.T, []byte, []byte) bool { return true })
}

// A time stamp is believed where the clock has signed it.
func FuzzTimestamp(f *testing.F) {
	r := recorded(f)
	image := r.image("timestamped")
	envelope := r.content[r.besideOf(image, jws).Layers[0].Digest]
	whole := timestampOf(f, envelope)
	f.Add(whole)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &repository{content: map[digest.Digest][]byte{}, about: map[digest.Digest][]v1.Descriptor{}}
		r.attachEnvelope(image, jws, reheaded(t, envelope, func(header map[string]any) { header[timestamp] = body }))
		in(t, 2030, func(t *testing.T) {
			t.Helper()
			found := of(t, r, image, certificate("ca", "root"), certificate("tsa", "clock"))
			if len(found) != 1 || found[0].Trusted && !bytes.Contains(body, whole[len(whole)-64:]) { // its signature comes last
				t.Fatalf("found %v", found)
			}
		})
	})
}

func FuzzManifest(f *testing.F) {
	r := recorded(f)
	for _, from := range []string{"referrer", "new", "notation"} {
		for _, d := range r.about[r.image(from).Digest] {
			f.Add(r.content[d.Digest])
		}
	}
	f.Add(r.content[r.tags[sigTag(r.image("old"))]])
	image, trusted := r.image("unsigned"), everybody()
	f.Fuzz(func(t *testing.T, body []byte) {
		r := r.clone()
		d := r.put(body)
		r.tags[sigTag(image)] = d
		r.about[image.Digest] = nil
		for i, kind := range []string{"application/vnd.dev.cosign.artifact.sig.v1+json", bundle, "application/vnd.cncf.notary.signature"} {
			other := r.put(append([]byte{" \n\t"[i]}, body...))
			r.about[image.Digest] = append(r.about[image.Digest], v1.Descriptor{Digest: other, ArtifactType: kind})
		}
		for _, one := range of(t, r, image, trusted...) {
			if one.Trusted {
				t.Fatalf("found %v of an image that nobody has signed", one)
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	for _, t := range append(everybody(), publicKey("rsa-pkcs1"), certificate("tsa", "root")) {
		f.Add(string(t.Tool), t.Store, t.Content)
	}
	r := recorded(f)
	image := r.image("both")
	f.Fuzz(func(t *testing.T, tool, store string, content []byte) {
		one := signed.Trusted{Tool: signed.Tool(tool), Store: store, Content: content}
		refused := one.Check()
		for _, s := range of(t, r, image, one) {
			if s.Trusted && refused != nil {
				t.Fatalf("%v, and yet trusted: %v", s, refused)
			}
		}
	})
}
