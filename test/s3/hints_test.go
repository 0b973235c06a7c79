package s3_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

const tableName = "blobs"

// hinted starts a cluster on a bucket and a table, with more keys in "http".
func hinted(t *testing.T, bucket *harness.Bucket, s *tables, web map[string]any) *harness.Node {
	t.Helper()
	storage := map[string]any{"storageDriver": bucket.Driver("/zot"), "cacheDriver": s.Driver(tableName), "gcDelay": lease, "gcInterval": "1s"}
	return harness.StartEach(t, harness.Plan{Storage: storage, HTTP: web})[0]
}

// mount asks a node for a blob of a repository that it does not have.
func mount(t *testing.T, n *harness.Node, d digest.Digest) int {
	t.Helper()
	return ask(t, n, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?from=some/where&mount="+d.String(), nil, 0).code
}

// What one cluster has pushed another one gets from the bucket, without an upload, as a copy of its own.
func TestHints(t *testing.T) {
	bucket, all := harness.StartBucket(t), startTables(t)
	first, second := hinted(t, bucket, all, nil), hinted(t, bucket, all, nil)
	for i, layer := range [][]byte{storetest.Bytes(1, 1000), storetest.Bytes(2, 6<<20)} {
		d := digest.FromBytes(layer)
		if code := mount(t, second, d); code != http.StatusAccepted {
			t.Fatalf("a blob that nobody has is answered by %d", code)
		}
		push(t, first, fmt.Sprint("v", i), layer)
		harness.Until(t, "the second cluster mounts what the first has", func(context.Context) error {
			if code := mount(t, second, d); code != http.StatusCreated {
				return fmt.Errorf("status %d", code)
			}
			return nil
		})
		if got := ask(t, second, http.MethodGet, blobPath(layer), nil, http.StatusOK).body; !slices.Equal(got, layer) {
			t.Fatalf("%d bytes came", len(got))
		}
		if code := mount(t, second, d); code != http.StatusAccepted {
			t.Errorf("what is there already is copied once more: %d", code)
		}
		push(t, second, fmt.Sprint("v", i), layer)
	}
	// The copies are its own: what the first collects, and all of the first, may go.
	ask(t, first, http.MethodDelete, "/v2/"+repository+"/manifests/v1", nil, http.StatusAccepted)
	first.Kill(t)
	pull(t, second, "v1", storetest.Bytes(2, 6<<20))
	first.Serve(t)
	harness.WaitWritable(t, first)
}

// A hint that is wrong is found out and taken out of the table, and leaves nothing in the bucket.
func TestWrongHints(t *testing.T) {
	bucket, all := harness.StartBucket(t), startTables(t)
	first, second := hinted(t, bucket, all, nil), hinted(t, bucket, all, nil)
	layer := storetest.Bytes(1, 300<<10)
	push(t, first, "v1", layer)
	var right string
	harness.Until(t, "the blob stands in the table", func(context.Context) error {
		objects := all.objects(t, digest.FromBytes(layer))
		if len(objects) != 1 {
			return fmt.Errorf("%q", objects)
		}
		right = objects[0]
		return nil
	})
	before := len(copiesIn(t, bucket, -1))
	for name, test := range map[string]struct {
		object string
		stays  bool
	}{
		"other bytes":          {object: right},
		"no bytes":             {object: right[:len(right)-32] + strings.Repeat("0", 32)},
		"no copy of a cluster": {object: "s3://" + bucket.Name + "/zot/library/image/blobs/sha256/abc", stays: true},
		"the marker":           {object: right[:strings.LastIndex(right, "/")] + "/marker", stays: true},
		"another bucket":       {object: strings.Replace(right, bucket.Name, "another", 1), stays: true},
		"a path of zot's":      {object: "/zot/library/image/blobs/sha256/abc", stays: true},
	} {
		d := digest.FromString(name)
		all.add(t, d, test.object)
		if code := mount(t, second, d); code != http.StatusAccepted {
			t.Errorf("%s: %d", name, code)
		}
		ask(t, second, http.MethodHead, "/v2/"+repository+"/blobs/"+d.String(), nil, http.StatusNotFound)
		if test.stays {
			if left := all.objects(t, d); len(left) != 1 {
				t.Errorf("%s: what may be somebody else's hint was changed: %q", name, left)
			}
			continue
		}
		harness.Until(t, name+": the hint is forgotten", func(context.Context) error {
			if item := all.item(t, d); item != nil {
				return fmt.Errorf("%v", item)
			}
			return nil
		})
	}
	// What zot itself has noted beside it stays.
	d := digest.FromString("zot's, too")
	all.add(t, d, right[:len(right)-32]+strings.Repeat("0", 32))
	all.update(t, d, "SET OriginalBlobPath = :o", &types.AttributeValueMemberS{Value: "/zot/a/blobs/sha256/b"})
	if code := mount(t, second, d); code != http.StatusAccepted {
		t.Errorf("what zot has: %d", code)
	}
	harness.Until(t, "the hint is forgotten, and not what zot knows", func(context.Context) error {
		item := all.item(t, d)
		if item["OriginalBlobPath"] == nil {
			t.Fatalf("%v is left", item)
		}
		if item["DuplicateBlobPath"] != nil {
			return fmt.Errorf("%v", item)
		}
		return nil
	})
	harness.Until(t, "nothing is left in the bucket", func(context.Context) error { // a copy is taken away after its hint
		if after := copiesIn(t, bucket, -1); len(after) != before {
			return fmt.Errorf("there were %d objects, and now %q", before, after)
		}
		return nil
	})
	pull(t, first, "v1", layer)
}

// What not everybody may read others are not told of, whoever knows its digest.
func TestOnlyWhatIsPublicIsTold(t *testing.T) {
	bucket, all := harness.StartBucket(t), startTables(t)
	closed := map[string]any{"accessControl": map[string]any{"repositories": map[string]any{
		"**":        map[string]any{"anonymousPolicy": []string{"read", "create", "update", "delete"}},
		"hidden/**": map[string]any{"anonymousPolicy": []string{"create"}},
	}}}
	first, second := hinted(t, bucket, all, closed), hinted(t, bucket, all, nil)
	hidden, public := digest.FromString("hidden"), digest.FromString("public")
	ask(t, first, http.MethodPost, "/v2/hidden/image/blobs/uploads/?digest="+hidden.String(), []byte("hidden"), http.StatusCreated)
	push(t, first, "v1", []byte("public"))
	harness.Until(t, "the second cluster mounts what everybody may read", func(context.Context) error {
		if code := mount(t, second, public); code != http.StatusCreated {
			return fmt.Errorf("status %d", code)
		}
		return nil
	})
	if item := all.item(t, hidden); item != nil {
		t.Errorf("others are told of what is hidden: %v", item)
	}
	for _, n := range []*harness.Node{first, second} {
		if code := mount(t, n, hidden); code != http.StatusAccepted {
			t.Errorf("%s: a digest alone is answered by %d", n.Name, code)
		}
	}
}

// Pushes and mounts go on without the table; and clusters ask no more of it than the policy allows.
func TestTableIsDown(t *testing.T) {
	bucket, all := harness.StartBucket(t), startTables(t)
	to, err := url.Parse(all.Endpoint)
	must(t, err)
	var mu sync.Mutex
	asked := map[string]int{}
	forward := httputil.NewSingleHostReverseProxy(to)
	forward.ErrorLog = nil
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, what, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		mu.Lock()
		asked[what]++
		mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	n := hinted(t, bucket, &tables{Tables: &harness.Tables{Endpoint: proxy.URL, Region: all.Region}}, nil)
	push(t, n, "v1", []byte("layer"))
	d := digest.FromString("layer")
	harness.Until(t, "the blob stands in the table", func(context.Context) error {
		if all.item(t, d) == nil {
			return errors.New("it does not")
		}
		return nil
	})
	if code := mount(t, n, digest.FromString("none")); code != http.StatusAccepted {
		t.Errorf("status %d", code)
	}
	mu.Lock()
	was := maps.Clone(asked)
	mu.Unlock() // or the table would be slow, not down
	for what := range was {
		if !slices.Contains([]string{"CreateTable", "GetItem", "UpdateItem", "DeleteItem"}, what) {
			t.Errorf("%s is asked, which the policy does not have", what)
		}
	}
	if was["CreateTable"] == 0 || was["GetItem"] == 0 || was["UpdateItem"] == 0 {
		t.Errorf("asked are %v", was)
	}
	all.Kill(t)
	push(t, n, "v2", []byte("another layer"))
	if code := mount(t, n, digest.FromString("none")); code != http.StatusAccepted {
		t.Errorf("without the table: status %d", code)
	}
	pull(t, n, "v2", []byte("another layer"))
}

// tables is a DynamoDB server, and a client of it.
type tables struct {
	*harness.Tables
	api *dynamodb.Client
}

func startTables(t *testing.T) *tables {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "tester")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	s := harness.StartTables(t)
	return &tables{s, dynamodb.New(dynamodb.Options{
		Region: s.Region, BaseEndpoint: aws.String(s.Endpoint), Credentials: credentials.NewStaticCredentialsProvider("tester", "any", ""),
	})}
}

func (s *tables) key(d digest.Digest) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"Digest": &types.AttributeValueMemberS{Value: d.String()}}
}

// item is what stands there of a blob; nil: nothing.
func (s *tables) item(t *testing.T, d digest.Digest) map[string]types.AttributeValue {
	t.Helper()
	out, err := s.api.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(tableName), Key: s.key(d)})
	must(t, err)
	return out.Item
}

func (s *tables) objects(t *testing.T, d digest.Digest) []string {
	t.Helper()
	set, _ := s.item(t, d)["DuplicateBlobPath"].(*types.AttributeValueMemberSS)
	if set == nil {
		return nil
	}
	return set.Value
}

func (s *tables) add(t *testing.T, d digest.Digest, object string) {
	t.Helper()
	s.update(t, d, "ADD DuplicateBlobPath :o", &types.AttributeValueMemberSS{Value: []string{object}})
}

func (s *tables) update(t *testing.T, d digest.Digest, how string, value types.AttributeValue) {
	t.Helper()
	_, err := s.api.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String(tableName), Key: s.key(d), UpdateExpression: aws.String(how),
		ExpressionAttributeValues: map[string]types.AttributeValue{":o": value},
	})
	must(t, err)
}
