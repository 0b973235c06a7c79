package s3_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// TestSpeed pushes and pulls S3_SPEED_MIB (none: it is skipped) through a node, and straight to the same S3 server, by the
// same library, hashed by the client each time. The best of three counts.
func TestSpeed(t *testing.T) {
	var mib int64
	if _, err := fmt.Sscan(os.Getenv("S3_SPEED_MIB"), &mib); err != nil {
		t.Skip("S3_SPEED_MIB does not say how much to send")
	}
	size := mib << 20
	bucket := harness.StartBucket(t)
	n := harness.StartStored(t, 1, map[string]any{"storageDriver": bucket.Driver("/zot")})[0]
	direct := newDirect(t, bucket)
	best, d := map[string]time.Duration{}, digestOf(size)
	for range 3 {
		for _, run := range []struct {
			name string
			do   func()
		}{
			{"push straight", func() { direct.push(t, size) }},
			{"push through zot", func() { pushLarge(t, n, size) }},
			{"pull straight", func() { direct.pull(t, size) }},
			{"pull through zot", func() { pullLarge(t, n, size, d) }},
		} {
			began := time.Now()
			run.do()
			if took := time.Since(began); best[run.name] == 0 || took < best[run.name] {
				best[run.name] = took
			}
		}
	}
	for name, took := range best {
		t.Logf("%-16s %6.0f MiB/s", name, float64(mib)/took.Seconds())
	}
	for _, what := range []string{"push", "pull"} {
		t.Logf("%s: %.2f of straight", what, best[what+" straight"].Seconds()/best[what+" through zot"].Seconds())
	}
}

func content(size int64) io.Reader { return io.LimitReader(&endless{}, size) }

func digestOf(size int64) digest.Digest {
	h := sha256.New()
	_, _ = io.Copy(h, content(size))
	return digest.NewDigest(digest.SHA256, h)
}

func pushLarge(t *testing.T, n *harness.Node, size int64) {
	t.Helper()
	at := ask(t, n, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, http.StatusAccepted).header.Get("Location")
	hash := sha256.New()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, n.URL(at), io.TeeReader(content(size), hash))
	must(t, err)
	r.ContentLength = size
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusAccepted {
		t.Fatalf("PATCH: %s", answer.Status)
	}
	at = answer.Header.Get("Location")
	ask(t, n, http.MethodPut, at+"?digest="+digest.NewDigest(digest.SHA256, hash).String(), nil, http.StatusCreated)
}

func pullLarge(t *testing.T, n *harness.Node, size int64, d digest.Digest) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL("/v2/"+repository+"/blobs/"+d.String()), http.NoBody)
	must(t, err)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	consume(t, answer.Body, size)
	must(t, answer.Body.Close())
}

func consume(t *testing.T, r io.Reader, size int64) {
	t.Helper()
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	must(t, err)
	if n != size {
		t.Fatalf("%d bytes came, not %d", n, size)
	}
}

// direct is a client of the S3 server itself.
type direct struct {
	api *awss3.Client
	key *string
}

func newDirect(t *testing.T, b *harness.Bucket) direct {
	t.Helper()
	return direct{awss3.New(awss3.Options{
		Region: b.Region, BaseEndpoint: aws.String(b.Endpoint), UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(b.AccessKey, b.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}), aws.String("straight")}
}

// push sends parts of the size that the store sends, as many at a time.
func (d direct) push(t *testing.T, size int64) {
	t.Helper()
	bucket, part := aws.String("blobs"), int64(10<<20)
	begun, err := d.api.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: d.key})
	must(t, err)
	hash := sha256.New()
	r := io.TeeReader(content(size), hash)
	parts := make([]types.CompletedPart, (size+part-1)/part)
	sends, ctx := errgroup.WithContext(t.Context())
	sends.SetLimit(3)
	for i := range parts {
		p := make([]byte, min(part, size-int64(i)*part))
		_, err := io.ReadFull(r, p)
		must(t, err)
		sends.Go(func() error {
			number := aws.Int32(int32(i + 1))
			out, err := d.api.UploadPart(ctx, &awss3.UploadPartInput{
				Bucket: bucket, Key: d.key, UploadId: begun.UploadId, PartNumber: number, Body: bytes.NewReader(p),
			})
			if err == nil {
				parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: number}
			}
			return err
		})
	}
	must(t, sends.Wait())
	_, err = d.api.CompleteMultipartUpload(t.Context(), &awss3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: d.key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	must(t, err)
}

func (d direct) pull(t *testing.T, size int64) {
	t.Helper()
	out, err := d.api.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("blobs"), Key: d.key})
	must(t, err)
	consume(t, out.Body, size)
	must(t, out.Body.Close())
}
