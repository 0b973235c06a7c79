package oci_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/fsm/oci"
)

const (
	image = v1.MediaTypeImageManifest
	index = v1.MediaTypeImageIndex
)

// TestGolden parses every manifest in testdata and compares what was found with the file beside it.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			mediaType := "" // the body's own
			if strings.Contains(file, "no-media-type") {
				mediaType = image
			}
			m, err := oci.ParseManifest(mediaType, body, digest.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, strings.TrimSuffix(file, ".json")+".golden", describe(m))
		})
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if updating() {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// describe prints a manifest for people and golden files.
func describe(m oci.Manifest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "media type %s\ndigest %s\nsize %d\nartifact type %q\n", m.MediaType, m.Digest, m.Size, m.ArtifactType)
	if m.Subject != nil {
		fmt.Fprintf(&b, "subject %s %d %s\n", m.Subject.Digest, m.Subject.Size, m.Subject.MediaType)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Annotations)) {
		fmt.Fprintf(&b, "annotation %s = %q\n", key, m.Annotations[key])
	}
	if m.Config != nil {
		fmt.Fprintf(&b, "config %s\n", m.Config.Digest)
	}
	fmt.Fprintf(&b, "%d layers, %d manifests\n", len(m.Layers), len(m.Manifests))
	for _, r := range m.References {
		fmt.Fprintf(&b, "reference %s %d %s manifest=%t\n", r.Digest, r.Size, r.MediaType, r.Manifest)
	}
	for _, r := range m.Optional {
		fmt.Fprintf(&b, "optional %s %d %s manifest=%t\n", r.Digest, r.Size, r.MediaType, r.Manifest)
	}
	return b.String()
}

func TestDigestIsOfTheBytesUnderTheAlgorithmAskedFor(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/image.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		m, err := oci.ParseManifest(image, body, alg)
		if err != nil || m.Digest != alg.FromBytes(body) || m.Size != int64(len(body)) {
			t.Errorf("%s: got %s, %d, %v", alg, m.Digest, m.Size, err)
		}
	}
	for _, alg := range []digest.Algorithm{"", digest.SHA384, "md5"} {
		if _, err := oci.ParseManifest(image, body, alg); !errors.Is(err, oci.ErrDigestInvalid) {
			t.Errorf("%q: got %v, want ErrDigestInvalid", alg, err)
		}
	}
}

// object returns a JSON object of the given members, each as it stands in JSON.
func object(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

// descriptor returns a descriptor of blob n, with more members.
func descriptor(n int, more ...string) string {
	return object(append([]string{
		`"mediaType":"application/vnd.example"`,
		fmt.Sprintf(`"digest":%q`, digest.FromString(fmt.Sprint(n))),
		`"size":1`,
	}, more...)...)
}

const (
	version  = `"schemaVersion":2`
	noLayers = `"layers":[]`
)

func config() string { return `"config":` + descriptor(0) }

func layers(descriptors ...string) string {
	return `"layers":[` + strings.Join(descriptors, ",") + `]`
}

func manifests(descriptors ...string) string {
	return `"manifests":[` + strings.Join(descriptors, ",") + `]`
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	plain := object(version, config(), noLayers)
	typed := func(mediaType string) string {
		return object(version, `"mediaType":"`+mediaType+`"`, config(), noLayers)
	}
	for name, test := range map[string]struct {
		mediaType, body string
		want            string
		err             error
		message         string
	}{
		"declared":                   {image, plain, image, nil, ""},
		"declared and in the body":   {image, typed(image), image, nil, ""},
		"in the body only":           {"", typed(image), image, nil, ""},
		"parameters":                 {image + "; charset=utf-8", typed(image), image, nil, ""},
		"case":                       {strings.ToUpper(image), typed(strings.ToUpper(image)), image, nil, ""},
		"white space":                {" " + image + " ;x=y", typed(image), image, nil, ""},
		"Docker":                     {oci.MediaTypeDockerManifest, plain, oci.MediaTypeDockerManifest, nil, ""},
		"parameters alone":           {"; charset=utf-8", typed(image), "", oci.ErrManifestInvalid, "neither"},
		"neither":                    {"", plain, "", oci.ErrManifestInvalid, "neither"},
		"differ":                     {image, typed(oci.MediaTypeDockerManifest), "", oci.ErrManifestInvalid, "mediaType is"},
		"unknown":                    {"application/json", typed(image), "", oci.ErrMediaTypeUnsupported, image},
		"unknown, not JSON":          {"text/plain", "hello", "", oci.ErrMediaTypeUnsupported, image},
		"unknown in the body":        {"", typed("application/json"), "", oci.ErrMediaTypeUnsupported, image},
		"body differs and unknown":   {image, typed("application/json"), "", oci.ErrManifestInvalid, "mediaType is"},
		"artifact manifest":          {"application/vnd.oci.artifact.manifest.v1+json", plain, "", oci.ErrMediaTypeUnsupported, image},
		"layer":                      {v1.MediaTypeImageLayer, plain, "", oci.ErrMediaTypeUnsupported, image},
		"schema 1":                   {"application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1}`, "", oci.ErrMediaTypeUnsupported, "schema 1"},
		"schema 1, signed":           {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`, "", oci.ErrMediaTypeUnsupported, "schema 1"},
		"schema 1, undeclared":       {"", `{"schemaVersion":1,"name":"app","fsLayers":[]}`, "", oci.ErrMediaTypeUnsupported, "schema 1"},
		"schema 1, declared as 2":    {oci.MediaTypeDockerManifest, `{"schemaVersion":1}`, "", oci.ErrManifestInvalid, "schemaVersion is 1"},
		"index pushed as image":      {image, object(version, manifests()), "", oci.ErrManifestInvalid, "config is missing"},
		"image pushed as index":      {index, plain, "", oci.ErrManifestInvalid, "manifests is missing"},
		"image and index, as image":  {image, object(version, config(), noLayers, manifests()), "", oci.ErrManifestInvalid, "may not have manifests"},
		"image and index, as index":  {index, object(version, config(), manifests()), "", oci.ErrManifestInvalid, "may not have config"},
		"index and layers, as index": {index, object(version, noLayers, manifests()), "", oci.ErrManifestInvalid, "may not have config"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := oci.ParseManifest(test.mediaType, []byte(test.body), digest.SHA256)
			if m.MediaType != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v", m.MediaType, err)
			}
			if err != nil && !strings.Contains(err.Error(), test.message) {
				t.Errorf("%q does not say %q", err, test.message)
			}
		})
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	withLayer := func(d string) string { return object(version, config(), layers(d)) }
	const digestOf0 = "sha256:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"
	for name, test := range map[string]struct{ body, message string }{
		"empty":                   {"", "not JSON"},
		"not JSON":                {"hello", "not JSON"},
		"cut off":                 {`{"schemaVersion":2`, "not JSON"},
		"data after it":           {object(version, config(), noLayers) + "{}", "not JSON"},
		"null":                    {"null", "schemaVersion is 0"},
		"list":                    {"[]", "a JSON array, must be an object"},
		"not UTF-8":               {object(version, config(), noLayers, "\"x\":\"\xff\""), "not UTF-8"},
		"byte order mark":         {"\ufeff" + object(version, config(), noLayers), "not JSON"},
		"nested too deeply":       {object(version, `"x":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)), "levels deep"},
		"nested without end":      {`{"x":` + strings.Repeat("[", 1<<20), "not JSON"},
		"nested very deeply":      {`{"x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, "not JSON"},
		"no version":              {object(config(), noLayers), "schemaVersion is 0"},
		"version 3":               {object(`"schemaVersion":3`, config(), noLayers), "schemaVersion is 3"},
		"version in words":        {object(`"schemaVersion":"2"`, config(), noLayers), "schemaVersion may not be a JSON string"},
		"no config":               {object(version, noLayers), "config is missing"},
		"config is null":          {object(version, `"config":null`, noLayers), "config is missing"},
		"config is a string":      {object(version, `"config":"x"`, noLayers), "config may not be a JSON string"},
		"layers is an object":     {object(version, config(), `"layers":{}`), "layers may not be a JSON object"},
		"layer is null":           {withLayer("null"), "layers[0] is not an object"},
		"layer is a list":         {withLayer("[]"), "layers[0] is not an object"},
		"second layer is null":    {withLayer(descriptor(1) + ",null"), "layers[1] is not an object"},
		"no digest":               {withLayer(`{"mediaType":"a/b","size":1}`), "layers[0]: digest is missing"},
		"no size":                 {withLayer(`{"mediaType":"a/b","digest":"` + digestOf0 + `"}`), "layers[0]: size is missing"},
		"no media type":           {withLayer(`{"digest":"` + digestOf0 + `","size":1}`), "layers[0]: mediaType is missing"},
		"empty media type":        {withLayer(`{"mediaType":"","digest":"` + digestOf0 + `","size":1}`), "layers[0]: mediaType is empty"},
		"long media type":         {withLayer(`{"mediaType":"` + strings.Repeat("a", 256) + `","digest":"` + digestOf0 + `","size":1}`), "layers[0]: mediaType has more"},
		"bad digest":              {withLayer(`{"mediaType":"a/b","digest":"sha256:0","size":1}`), "layers[0]: invalid digest"},
		"unsupported algorithm":   {withLayer(`{"mediaType":"a/b","digest":"md5:` + strings.Repeat("0", 32) + `","size":1}`), "md5"},
		"negative size":           {withLayer(`{"mediaType":"a/b","digest":"` + digestOf0 + `","size":-1}`), "layers[0]: size is -1"},
		"size is a fraction":      {withLayer(`{"mediaType":"a/b","digest":"` + digestOf0 + `","size":1.5}`), "size may not be a JSON number 1.5"},
		"size beyond 64 bits":     {withLayer(`{"mediaType":"a/b","digest":"` + digestOf0 + `","size":9223372036854775808}`), "size may not be"},
		"two sizes":               {withLayer(`{"mediaType":"a/b","digest":"` + digestOf0 + `","size":2}`), "is 2 here and 1 before"},
		"bad annotation":          {object(version, config(), noLayers, `"annotations":{"a":1}`), "annotations"},
		"bad subject":             {object(version, config(), noLayers, `"subject":{"mediaType":"a/b","digest":"x","size":1}`), "subject: invalid digest"},
		"half a subject":          {object(version, config(), noLayers, `"subject":{}`), "subject: mediaType is missing"},
		"long artifact type":      {object(version, config(), noLayers, `"artifactType":"`+strings.Repeat("a", 256)+`"`), "artifactType has more"},
		"key twice":               {object(version, config(), noLayers, noLayers), `key "layers" occurs twice`},
		"key twice, escaped":      {object(version, config(), noLayers, `"layer\u0073":[]`), `key "layers" occurs twice`},
		"key twice in descriptor": {withLayer(descriptor(1, `"size":1`)), `layers[0]: key "size" occurs twice`},
		"annotation twice":        {object(version, config(), noLayers, `"annotations":{"a":"1","a":"2"}`), `annotations: key "a" occurs twice`},
		"unknown key twice":       {object(version, config(), noLayers, `"x":[{},{"a":1,"a":1}]`), `x[1]: key "a" occurs twice`},
		"other case":              {object(version, config(), noLayers, `"Layers":[]`), `must be spelled "layers"`},
		"other case alone":        {object(version, config(), `"LAYERS":[]`), `must be spelled "layers"`},
		"Unicode case":            {object(version, config(), noLayers, `"layer\u017f":[]`), `must be spelled "layers"`},
		"other case, descriptor":  {withLayer(descriptor(1, `"Digest":"x"`)), `layers[0]: key "Digest" must be spelled`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := oci.ParseManifest(image, []byte(test.body), digest.SHA256)
			if !errors.Is(err, oci.ErrManifestInvalid) || !strings.Contains(fmt.Sprint(err), test.message) {
				t.Errorf("got %v, want ErrManifestInvalid that says %q", err, test.message)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("the message has %d characters", len(err.Error()))
			}
		})
	}
}

func TestUnusualButValid(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"unknown fields":            object(version, config(), noLayers, `"org.example.x":{"Size":-1,"digest":1e999}`),
		"no layers at all":          object(version, config()),
		"layers is null":            object(version, config(), `"layers":null`),
		"subject is null":           object(version, config(), noLayers, `"subject":null`),
		"annotations by case":       object(version, config(), noLayers, `"annotations":{"a":"1","A":"2","mediatype":"x"}`),
		"manifests is null":         object(version, config(), noLayers, `"manifests":null`),
		"as deep as may be":         object(version, config(), noLayers, `"x":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)),
		"white space about it":      " \n" + object(version, config(), noLayers) + "\n ",
		"config is a layer as well": object(version, config(), layers(descriptor(0))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := oci.ParseManifest(image, []byte(body), digest.SHA256)
			if err != nil || len(m.References) != 1 {
				t.Errorf("got %+v, %v", m.References, err)
			}
		})
	}
}

func TestIndexListsADigestAsManifestAndAsBlob(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x")
	as := func(mediaType string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, mediaType, d)
	}
	body := object(version, manifests(as(image), as(v1.MediaTypeImageLayer)))
	_, err := oci.ParseManifest(index, []byte(body), digest.SHA256)
	if !errors.Is(err, oci.ErrManifestInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	many := func(n int) []byte { // n distinct digests, each twice
		var ds []string
		for i := range n - 1 {
			ds = append(ds, descriptor(i+1), descriptor(i+1))
		}
		return []byte(object(version, config(), layers(ds...)))
	}
	m, err := oci.ParseManifest(image, many(oci.MaxReferences), digest.SHA256)
	if err != nil || len(m.References) != oci.MaxReferences {
		t.Errorf("at the limit: %d references, %v", len(m.References), err)
	}
	if _, err := oci.ParseManifest(image, many(oci.MaxReferences+1), digest.SHA256); !errors.Is(err, oci.ErrTooManyReferences) {
		t.Errorf("one more: %v, want ErrTooManyReferences", err)
	}

	body := []byte(object(version, config(), noLayers))
	body = append(body, bytes.Repeat([]byte(" "), oci.MaxManifest-len(body))...)
	if m, err := oci.ParseManifest(image, body, digest.SHA256); err != nil || m.Size != oci.MaxManifest {
		t.Errorf("4 MiB: %d, %v", m.Size, err)
	}
	if _, err := oci.ParseManifest(image, append(body, ' '), digest.SHA256); !errors.Is(err, oci.ErrManifestTooLarge) {
		t.Errorf("4 MiB and one byte: %v, want ErrManifestTooLarge", err)
	}
}
