package s3

import (
	"context"
	"io"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/go-hclog"
)

// Objects is what is in a bucket, whoever has put it there. It is only read.
type Objects struct{ bucket *bucket }

// Object is one of them.
type Object struct {
	Key  string
	Size int64
}

// OpenObjects makes it. Nobody is asked for anything yet; the caller closes it.
func OpenObjects(ctx context.Context, b Bucket) (*Objects, error) {
	made, err := newBucket(ctx, b, DefaultTiming(), hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	return &Objects{made}, nil
}

// List lists the objects whose keys begin with a prefix, in the order of their keys. An error ends the list.
func (o *Objects) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		pages := awss3.NewListObjectsV2Paginator(o.bucket.api, &awss3.ListObjectsV2Input{Bucket: o.bucket.name, Prefix: aws.String(prefix)},
			func(o *awss3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Object{}, failure(ctx, "list", prefix, err))
				return
			}
			for _, found := range page.Contents {
				if !yield(Object{aws.ToString(found.Key), aws.ToInt64(found.Size)}, nil) {
					return
				}
			}
		}
	}
}

// Get opens an object. The caller closes it.
func (o *Objects) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	found, err := o.bucket.get(ctx, key, whole())
	return found.body, err
}

// Close gives the connections back.
func (o *Objects) Close() error {
	o.bucket.transport.CloseIdleConnections()
	return nil
}
