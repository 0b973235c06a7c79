package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
)

// What a bucket answers instead of doing what it was asked. All else is blobstore.ErrUnreachable, after the
// attempts that it deserves.
var (
	errNoObject = errors.New("no such object")
	errNoUpload = errors.New("no such multipart upload, or not with these parts")
	errExists   = errors.New("the key is taken")
	errUnknown  = errors.New("the store does not know this request")
	errNoEnd    = errors.New("the store says that there is more, and does not say where")
	errKept     = errors.New("the store does not let go of this object")
)

// middlewareStack is the library's, under a name that does not clash.
type middlewareStack = middleware.Stack

// bucket is every request that is made. It needs no more rights than to list the bucket and its multipart uploads,
// and to put, get and delete objects, list parts of and abort uploads.
type bucket struct {
	api     *awss3.Client
	name    *string
	options options
	timing  Timing

	transport *http.Transport
}

func newBucket(ctx context.Context, b Bucket, t Timing, log hclog.Logger) (*bucket, error) {
	api, transport, err := newClient(ctx, b, t, log)
	if err != nil {
		return nil, err
	}
	return &bucket{api: api, name: aws.String(b.Name), options: newOptions(b), timing: t, transport: transport}, nil
}

// failure says what an error of the store means.
func failure(ctx context.Context, doing, key string, err error) error {
	if err == nil {
		return nil
	}
	kind := blobstore.ErrUnreachable
	code, name := 0, ""
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		code = answer.HTTPStatusCode()
	}
	said, ok := errors.AsType[smithy.APIError](err)
	if ok {
		name = said.ErrorCode()
	}
	switch {
	case ctx.Err() != nil:
		kind = ctx.Err()
	case name == "NoSuchBucket":
		kind = blobstore.ErrOffline
	case name == "NoSuchUpload" || name == "InvalidPart":
		kind = errNoUpload // that has all the parts that we have sent
	case name == "NoSuchKey" || code == http.StatusNotFound:
		kind = errNoObject
	case code == http.StatusPreconditionFailed:
		kind = errExists
	case name == "NotImplemented" || code == http.StatusNotImplemented:
		kind = errUnknown
	}
	switch {
	case name != "":
		// Without the number that each answer has: a job that fails says so once for each cause.
		err = fmt.Errorf("status %d, %s: %s", code, name, said.ErrorMessage())
	case errors.Is(err, io.EOF):
		err = errors.New(err.Error()) // a connection that ended must not be taken for a stream that did
	}
	return fmt.Errorf("%s %s: %w: %w", doing, key, kind, err)
}

// span is a part of an object, both ends included; to is -1 for the whole.
type span struct{ from, to int64 }

func whole() span { return span{0, -1} }

// object is one that is being read.
type object struct {
	body io.ReadCloser // the caller closes it
	size int64         // of the whole object; -1 if the answer does not say
}

// get opens an object. It returns errNoObject.
func (b *bucket) get(ctx context.Context, key string, s span) (object, error) {
	in := &awss3.GetObjectInput{Bucket: b.name, Key: aws.String(key)}
	if s.to >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", s.from, s.to))
	}
	out, err := b.api.GetObject(ctx, in)
	if err != nil {
		return object{}, failure(ctx, "get", key, err)
	}
	o := object{body: out.Body, size: lengthOf(out.ContentLength)}
	if s.to >= 0 {
		o.size, err = sizeOf(aws.ToString(out.ContentRange), s.from)
	}
	if err != nil {
		return object{}, errors.Join(fmt.Errorf("get %s: %w: %w", key, blobstore.ErrUnreachable, err), out.Body.Close())
	}
	return o, nil
}

// lengthOf is the length that an answer says, or -1: nothing may be judged by one that is not there.
func lengthOf(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// sizeOf reads the size of the whole from the answer to a range that begins at from.
func sizeOf(contentRange string, from int64) (int64, error) {
	begin, size, ok := strings.Cut(contentRange, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || !strings.HasPrefix(begin, fmt.Sprintf("bytes %d-", from)) {
		return 0, fmt.Errorf("the range that came is %q", contentRange)
	}
	return n, nil
}

// read reads limit bytes of an object at most, and says how many it has. What breaks off is read again.
func (b *bucket) read(ctx context.Context, key string, limit int64) (p []byte, size int64, err error) {
	err = b.patiently(ctx, func() error {
		o, err := b.get(ctx, key, whole())
		if err != nil {
			return err
		}
		p, err = io.ReadAll(io.LimitReader(o.body, limit+1))
		err = errors.Join(err, o.body.Close())
		if size = o.size; size < 0 {
			size = int64(len(p))
		}
		if err == nil && int64(len(p)) < min(size, limit+1) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		return nil
	})
	return p[:min(int64(len(p)), limit)], size, err
}

// head says how large an object is, -1 if the answer does not say, and when the store took it. It returns errNoObject.
func (b *bucket) head(ctx context.Context, key string) (size int64, written time.Time, err error) {
	out, err := b.api.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: b.name, Key: aws.String(key)})
	if err != nil {
		return 0, time.Time{}, failure(ctx, "head", key, err)
	}
	return lengthOf(out.ContentLength), aws.ToTime(out.LastModified), nil
}

// put makes an object. With onlyNew it returns errExists if the key is taken, be it by an attempt of this very call
// of which no answer came.
func (b *bucket) put(ctx context.Context, key string, body io.ReadSeeker, size int64, onlyNew bool) error {
	_, err := b.api.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: b.name, Key: aws.String(key), Body: body, ContentLength: aws.Int64(size), IfNoneMatch: condition(onlyNew),
		ContentType: aws.String("application/octet-stream"), ServerSideEncryption: b.options.encryption,
		SSEKMSKeyId: b.options.keyID, StorageClass: b.options.class, ACL: b.options.acl,
	}, signPayload)
	return failure(ctx, "put", key, err)
}

func condition(onlyNew bool) *string {
	if onlyNew {
		return aws.String("*")
	}
	return nil
}

// signPayload has the hash of a body signed, over TLS too: the store then refuses what is not what was read from
// the body, which has been compared with the sums of what was received.
func signPayload(o *awss3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		_, err := stack.Finalize.Swap((&v4.ComputePayloadSHA256{}).ID(), &v4.ComputePayloadSHA256{})
		return err
	})
}

// remove takes an object away. One that is not there is no error. It returns errKept if the store refuses this one,
// as it does where an object is locked: that says nothing of the others.
func (b *bucket) remove(ctx context.Context, key string) error {
	_, err := b.api.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: b.name, Key: aws.String(key)})
	if said, ok := errors.AsType[smithy.APIError](err); ok && said.ErrorCode() == "AccessDenied" {
		return fmt.Errorf("delete %s: %w: %s", key, errKept, said.ErrorMessage())
	}
	if err = failure(ctx, "delete", key, err); errors.Is(err, errNoObject) {
		return nil
	}
	return err
}

// list lists the keys that begin with prefix, from the one behind after on, in their order.
func (b *bucket) list(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range b.listed(ctx, prefix, after) {
			if !yield(o.key, err) {
				return
			}
		}
	}
}

// listed is an object as a list has it.
type listed struct {
	key  string
	size int64 // -1 if the list does not say
}

// listed is list with sizes.
func (b *bucket) listed(ctx context.Context, prefix, after string) iter.Seq2[listed, error] {
	return func(yield func(listed, error) bool) {
		in := &awss3.ListObjectsV2Input{Bucket: b.name, Prefix: aws.String(prefix)}
		if after != "" {
			in.StartAfter = aws.String(after)
		}
		for {
			out, err := b.api.ListObjectsV2(ctx, in)
			if err != nil {
				yield(listed{}, failure(ctx, "list", prefix, err))
				return
			}
			for _, o := range out.Contents {
				if !yield(listed{aws.ToString(o.Key), lengthOf(o.Size)}, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == aws.ToString(in.ContinuationToken) {
				yield(listed{}, fmt.Errorf("list %s: %w", prefix, errNoEnd))
				return
			}
			in.StartAfter, in.ContinuationToken = nil, out.NextContinuationToken
		}
	}
}

// begin begins a multipart upload.
func (b *bucket) begin(ctx context.Context, key string) (upload string, err error) {
	out, err := b.api.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
		Bucket: b.name, Key: aws.String(key), ContentType: aws.String("application/octet-stream"),
		ServerSideEncryption: b.options.encryption, SSEKMSKeyId: b.options.keyID,
		StorageClass: b.options.class, ACL: b.options.acl,
	})
	if err != nil {
		return "", failure(ctx, "begin", key, err)
	}
	return aws.ToString(out.UploadId), nil
}

// part sends one part.
func (b *bucket) part(ctx context.Context, key, upload string, number int32, body io.ReadSeeker, size int64) (etag string, err error) {
	out, err := b.api.UploadPart(ctx, &awss3.UploadPartInput{
		Bucket: b.name, Key: aws.String(key), UploadId: aws.String(upload), PartNumber: aws.Int32(number),
		Body: body, ContentLength: aws.Int64(size),
	}, signPayload)
	if err != nil {
		return "", failure(ctx, "send part of", key, err)
	}
	return aws.ToString(out.ETag), nil
}

// copy makes an object of another one, which the store copies by itself. It returns errNoObject. Nothing but the bytes
// is taken over: to read tags would be one more right.
func (b *bucket) copy(ctx context.Context, from, key string) error {
	_, err := b.api.CopyObject(patient(ctx, b.timing.Assemble), &awss3.CopyObjectInput{
		Bucket: b.name, Key: aws.String(key), CopySource: aws.String(b.sourceOf(from)),
		MetadataDirective: types.MetadataDirectiveReplace, TaggingDirective: types.TaggingDirectiveReplace,
		ContentType: aws.String("application/octet-stream"), ServerSideEncryption: b.options.encryption,
		SSEKMSKeyId: b.options.keyID, StorageClass: b.options.class, ACL: b.options.acl,
	})
	return failure(ctx, "copy", from, err)
}

// partFrom is part for bytes of another object, which the store copies by itself. It returns errNoObject.
func (b *bucket) partFrom(ctx context.Context, from, key, upload string, number int32, s span) (etag string, err error) {
	out, err := b.api.UploadPartCopy(patient(ctx, b.timing.Assemble), &awss3.UploadPartCopyInput{
		Bucket: b.name, Key: aws.String(key), UploadId: aws.String(upload), PartNumber: aws.Int32(number),
		CopySource: aws.String(b.sourceOf(from)), CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", s.from, s.to)),
	})
	if err != nil {
		return "", failure(ctx, "copy part of", from, err)
	}
	return aws.ToString(out.CopyPartResult.ETag), nil
}

// complete makes an object of all parts, whose ETags come in their order. It returns errNoUpload and errExists, be
// it after an attempt of this very call that succeeded and of which no answer came.
func (b *bucket) complete(ctx context.Context, key, upload string, etags []string, onlyNew bool) error {
	parts := make([]types.CompletedPart, len(etags))
	for i, etag := range etags {
		parts[i] = types.CompletedPart{ETag: aws.String(etag), PartNumber: aws.Int32(int32(i + 1))}
	}
	_, err := b.api.CompleteMultipartUpload(patient(ctx, b.timing.Assemble), &awss3.CompleteMultipartUploadInput{
		Bucket: b.name, Key: aws.String(key), UploadId: aws.String(upload), IfNoneMatch: condition(onlyNew),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return failure(ctx, "complete", key, err)
}

// abort gives a multipart upload up, with its parts. One that is not there is no error.
func (b *bucket) abort(ctx context.Context, key, upload string) error {
	_, err := b.api.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: b.name, Key: aws.String(key), UploadId: aws.String(upload)})
	err = failure(ctx, "abort", key, err)
	if errors.Is(err, errNoUpload) || errors.Is(err, errNoObject) {
		return nil
	}
	return err
}

// multipart is an upload that was begun and not ended.
type multipart struct{ key, upload string }

// multiparts lists those whose keys begin with prefix.
func (b *bucket) multiparts(ctx context.Context, prefix string) iter.Seq2[multipart, error] {
	return func(yield func(multipart, error) bool) {
		in := &awss3.ListMultipartUploadsInput{Bucket: b.name, Prefix: aws.String(prefix)}
		for {
			out, err := b.api.ListMultipartUploads(ctx, in)
			if err != nil {
				yield(multipart{}, failure(ctx, "list uploads of", prefix, err))
				return
			}
			for _, u := range out.Uploads {
				if !yield(multipart{aws.ToString(u.Key), aws.ToString(u.UploadId)}, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) && aws.ToString(out.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) {
				yield(multipart{}, fmt.Errorf("list uploads of %s: %w", prefix, errNoEnd))
				return
			}
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
	}
}

// countParts counts the parts that have come of a multipart upload. It returns errNoUpload.
func (b *bucket) countParts(ctx context.Context, m multipart) (n int, err error) {
	in := &awss3.ListPartsInput{Bucket: b.name, Key: aws.String(m.key), UploadId: aws.String(m.upload)}
	for {
		out, err := b.api.ListParts(ctx, in)
		if err != nil {
			return n, failure(ctx, "count parts of", m.key, err)
		}
		n += len(out.Parts)
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextPartNumberMarker) == aws.ToString(in.PartNumberMarker) {
			return n, nil
		}
		in.PartNumberMarker = out.NextPartNumberMarker
	}
}

// presign makes an address that whoever has it may get the object from, for a while.
func (b *bucket) presign(ctx context.Context, key string, lifetime time.Duration) (string, error) {
	signed, err := awss3.NewPresignClient(b.api).PresignGetObject(ctx, &awss3.GetObjectInput{
		Bucket: b.name, Key: aws.String(key), ResponseContentType: aws.String("application/octet-stream"),
	}, awss3.WithPresignExpires(lifetime))
	if err != nil {
		return "", failure(ctx, "sign", key, err)
	}
	return signed.URL, nil
}

// errBroken is an answer that broke off.
var errBroken = fmt.Errorf("%w: an answer broke off", blobstore.ErrUnreachable)

// patiently does what may be repeated while answers break off: requests themselves are repeated by the library.
func (b *bucket) patiently(ctx context.Context, do func() error) error {
	t := b.timing
	for attempt, pause := 1, t.Backoff; ; attempt, pause = attempt+1, min(2*pause, t.Longest) {
		err := do()
		if !errors.Is(err, errBroken) || attempt >= t.Attempts || ctx.Err() != nil {
			return err
		}
		if err := sleep(ctx, jitter(pause)); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
