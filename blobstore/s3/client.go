package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/hashicorp/go-hclog"
)

// Bucket says which bucket it is, how it is reached, and how objects are put into it.
type Bucket struct {
	Name, Region string
	// Endpoint is the address of another store than Amazon's, with or without scheme; "" is Amazon's of the region.
	Endpoint string
	// Insecure has an endpoint without scheme be asked over plain HTTP.
	Insecure bool
	// SkipVerify takes any certificate of the endpoint.
	SkipVerify bool
	PathStyle  bool // the bucket stands in the path and not in the host name
	DualStack  bool // IPv6 too, at Amazon
	Accelerate bool // Amazon's transfer acceleration

	// AccessKey and SecretKey, with SessionToken where it takes one. Without keys those of the environment, the shared
	// files or the machine's role are used, as all of Amazon's programs do.
	AccessKey, SecretKey, SessionToken string

	Encrypt      bool   // at rest, by the store: with KeyID if there is one, else with its own key
	KeyID        string // of the key service
	StorageClass string // "", STANDARD or NONE is the usual one
	ACL          string // "" or private is the usual one, for which no right to set it is needed
	UserAgent    string // added to what requests call themselves
}

// connections is how many connections to the store are kept for the next requests.
const connections = 64

// newClient makes a client, and what it asks over. It asks nobody for anything yet.
func newClient(ctx context.Context, b Bucket, t Timing, log hclog.Logger) (*awss3.Client, *http.Transport, error) {
	load := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRegion(b.Region),
		// The library adds to this one whose certificates are believed, as the environment (AWS_CA_BUNDLE) or the shared
		// files say.
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(setTransport)),
		awsconfig.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
			log.Debug("the library says", "text", fmt.Sprintf(format, args...))
		})),
	}
	if b.AccessKey != "" || b.SecretKey != "" {
		load = append(load, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(b.AccessKey, b.SecretKey, b.SessionToken)))
	}
	if b.UserAgent != "" {
		load = append(load, awsconfig.WithAPIOptions([]func(*middlewareStack) error{middleware.AddUserAgentKey(b.UserAgent)}))
	}
	c, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials of the bucket: %w", err)
	}
	built, ok := c.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, nil, fmt.Errorf("the library asks by a %T", c.HTTPClient)
	}
	transport := built.GetTransport()
	if b.SkipVerify { // here alone: who has credentials to give is asked by the library's own
		transport.TLSClientConfig.InsecureSkipVerify = true
	}
	return awss3.NewFromConfig(c, func(o *awss3.Options) {
		if b.Endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint(b))
		}
		o.UsePathStyle = b.PathStyle
		o.UseAccelerate = b.Accelerate
		if b.DualStack {
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
		}
		o.HTTPClient = &http.Client{Transport: &guard{next: transport, stall: t.Stall, answer: t.Answer}, CheckRedirect: sameRequest}
		o.Retryer = newRetryer(t)
		// Check sums of the newer kind are unknown to many stores, and refused by some. What is sent is signed with
		// its hash instead (signPayload), and what comes has sums of ours.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}), transport, nil
}

// endpoint is the address with its scheme.
func endpoint(b Bucket) string {
	switch {
	case strings.Contains(b.Endpoint, "://"):
		return b.Endpoint
	case b.Insecure:
		return "http://" + b.Endpoint
	default:
		return "https://" + b.Endpoint
	}
}

// sameRequest follows only those redirections that keep the request what it is.
func sameRequest(r *http.Request, via []*http.Request) error {
	if code := r.Response.StatusCode; len(via) < 10 && (code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect) {
		return nil
	}
	return http.ErrUseLastResponse
}

func setTransport(t *http.Transport) {
	t.Proxy = http.ProxyFromEnvironment
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ExpectContinueTimeout = time.Second
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = connections
	t.IdleConnTimeout = 30 * time.Second
	t.ForceAttemptHTTP2 = false // many streams over one connection would wait for each other
	t.DisableCompression = true
	t.WriteBufferSize = 64 << 10
	t.ReadBufferSize = 64 << 10
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
}

// newRetryer repeats what may succeed yet: a store that is busy, that failed, or whose connection broke. There is
// no budget over all requests: while a bucket is in trouble each of them has its own attempts, and ends.
func newRetryer(t Timing) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = t.Attempts
		o.RateLimiter = ratelimit.None
		o.Backoff = backoff(t, retry.IsErrorThrottles(o.Throttles))
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(isTransient))
	})
}

// backoff waits twice as long each time, and longer from the start for a store that says that it is busy; the half
// of it by chance, or all that were refused together would come back together.
func backoff(t Timing, throttle retry.IsErrorThrottle) retry.BackoffDelayerFunc {
	return func(attempt int, err error) (time.Duration, error) {
		d := t.Backoff
		if throttle.IsErrorThrottle(err).Bool() {
			d *= 10
		}
		for range attempt - 1 {
			d = min(2*d, t.Longest)
		}
		return jitter(min(d, t.Longest)), nil
	}
}

// isTransient adds to what the library repeats.
func isTransient(err error) aws.Ternary {
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		switch said.ErrorCode() {
		case "ConditionalRequestConflict", "OperationAborted", // two of ours at once, one of which we gave up
			"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody": // not what was sent has arrived
			return aws.TrueTernary
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return aws.TrueTernary // the answer broke off
	}
	return aws.UnknownTernary
}

// options are how objects are put into the bucket.
type options struct {
	encryption types.ServerSideEncryption
	keyID      *string
	class      types.StorageClass
	acl        types.ObjectCannedACL
}

func newOptions(b Bucket) (o options) {
	if b.Encrypt {
		o.encryption = types.ServerSideEncryptionAes256
	}
	if b.Encrypt && b.KeyID != "" {
		o.encryption, o.keyID = types.ServerSideEncryptionAwsKms, aws.String(b.KeyID)
	}
	if b.StorageClass != "STANDARD" && b.StorageClass != "NONE" {
		o.class = types.StorageClass(b.StorageClass)
	}
	if b.ACL != "private" {
		o.acl = types.ObjectCannedACL(b.ACL)
	}
	return o
}
