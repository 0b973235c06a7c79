// Package hint remembers in a table of DynamoDB, which clusters on one bucket share, where in the bucket the bytes of a
// blob are.
//
// What stands there is a hint and nothing else: it may be old, wrong or of a stranger, and whoever acts on one copies the
// object and hashes the copy before he believes it. So nothing waits for the table, and nothing fails with it: what
// cannot be noted is dropped, and while the table is out of reach nobody is asked for some time.
//
// An item has the key "Digest", as zot has it, and the set "DuplicateBlobPath" with an address, s3://bucket/key, for each
// object. zot itself may use the same table: it reads other attributes first, or finds an address where it looks for a
// path of its own, and takes that for one that is gone. So it never refers to an object that a cluster may collect.
//
// It may not know what a cluster or a repository is, and reads no objects. Start with Table.
package hint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/logging"
	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"
)

// The names in the table.
const (
	keyName = "Digest"
	setName = "DuplicateBlobPath"
)

// Config says which table it is. Credentials are those of the environment, the shared files or the machine's role.
type Config struct {
	Table, Region string
	Endpoint      string // of another store than Amazon's, with its scheme; "" is Amazon's of the region

	Answer time.Duration // how long a request may take, its repetition included
	Pause  time.Duration // how long nobody is asked after one that failed
	Queue  int           // how many notes may wait to be written; what comes then is dropped

	Logger hclog.Logger // nil logs nothing
}

// DefaultConfig lacks only which table.
func DefaultConfig() Config {
	return Config{Answer: 2 * time.Second, Pause: 30 * time.Second, Queue: 1000}
}

// Table is the table. Its methods may be called concurrently.
type Table struct {
	config    Config
	api       *dynamodb.Client
	transport *http.Transport
	log       hclog.Logger
	notes     chan note

	mu    sync.Mutex
	quiet time.Time // nobody is asked before
}

// note is a change that is to be written.
type note struct {
	digest digest.Digest
	object string
	gone   bool
}

// New makes a table, and asks nothing of it. Nothing is written before Run.
func New(ctx context.Context, c Config) (*Table, error) {
	switch {
	case c.Table == "" || c.Region == "":
		return nil, errors.New("a table and a region are needed")
	case c.Answer <= 0 || c.Queue < 0:
		return nil, errors.New("a table that has no time is asked nothing")
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	client := awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = c.Answer })
	loaded, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(c.Region), awsconfig.WithHTTPClient(client),
		awsconfig.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
			c.Logger.Debug("the library says", "text", fmt.Sprintf(format, args...))
		})))
	if err != nil {
		return nil, fmt.Errorf("credentials of the table: %w", err)
	}
	built, ok := loaded.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("the library asks by a %T", loaded.HTTPClient)
	}
	transport := built.GetTransport()
	return &Table{
		config: c, transport: transport, log: c.Logger, notes: make(chan note, c.Queue),
		api: dynamodb.NewFromConfig(loaded, func(o *dynamodb.Options) {
			o.HTTPClient = &http.Client{Transport: transport}
			if c.Endpoint != "" {
				o.BaseEndpoint = aws.String(c.Endpoint)
			}
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = 2, c.Answer/4
			})
		}),
	}, nil
}

// Add notes that an object has the bytes of a blob. It waits for nothing: if too many notes wait already, this one is
// dropped.
func (t *Table) Add(d digest.Digest, object string) { t.enqueue(note{digest: d, object: object}) }

// Forget notes that an object has them not. It waits for nothing either.
func (t *Table) Forget(d digest.Digest, object string) {
	t.enqueue(note{digest: d, object: object, gone: true})
}

func (t *Table) enqueue(n note) {
	select {
	case t.notes <- n:
	default:
		t.log.Debug("a hint is dropped", "digest", n.digest.String())
	}
}

// Find returns the objects that are said to have the bytes of a blob, none if the table does not say so in time.
func (t *Table) Find(ctx context.Context, d digest.Digest) []string {
	if !t.asks() {
		return nil
	}
	answer, cancel := context.WithTimeout(ctx, t.config.Answer)
	defer cancel()
	out, err := t.api.GetItem(answer, &dynamodb.GetItemInput{TableName: aws.String(t.config.Table), Key: keyOf(d)})
	if err != nil {
		if ctx.Err() == nil { // a caller that has gone says nothing about the table
			t.failed("find", err)
		}
		return nil
	}
	set, _ := out.Item[setName].(*types.AttributeValueMemberSS)
	if set == nil {
		return nil
	}
	return slices.Sorted(slices.Values(set.Value))
}

// Run makes the table if there is none, and writes notes until ctx ends. What waits then is dropped.
func (t *Table) Run(ctx context.Context) error {
	defer t.transport.CloseIdleConnections()
	t.make(ctx)
	for {
		select {
		case n := <-t.notes:
			t.write(ctx, n)
		case <-ctx.Done():
			return nil
		}
	}
}

// make makes the table. That it is there already, or may not be made, is no fault.
func (t *Table) make(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.config.Answer)
	defer cancel()
	_, err := t.api.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            aws.String(t.config.Table),
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(keyName), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(keyName), KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	})
	if _, there := errors.AsType[*types.ResourceInUseException](err); err != nil && !there {
		t.log.Warn("the table of hints cannot be made; if it is not there, nothing is shared by it", "table", t.config.Table, "error", err)
	}
}

// write writes one note, or drops it.
func (t *Table) write(ctx context.Context, n note) {
	if !t.asks() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, t.config.Answer)
	defer cancel()
	var err error
	if n.gone {
		err = t.take(ctx, n)
	} else {
		_, err = t.update(ctx, "ADD", n)
	}
	if err != nil && ctx.Err() != context.Canceled {
		t.failed("write", err)
	}
}

// take takes an object out of an item, and the item away if nothing is left of it.
func (t *Table) take(ctx context.Context, n note) error {
	out, err := t.update(ctx, "DELETE", n)
	if err != nil || len(out.Attributes) > 1 {
		return err
	}
	_, err = t.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: aws.String(t.config.Table), Key: keyOf(n.digest),
		ConditionExpression: aws.String("attribute_not_exists(" + setName + ") AND attribute_not_exists(OriginalBlobPath) AND attribute_not_exists(BlobPath)"),
	})
	if _, used := errors.AsType[*types.ConditionalCheckFailedException](err); used {
		return nil
	}
	return err
}

// update adds an object to the set of an item, or deletes it from it: others may do so at once.
func (t *Table) update(ctx context.Context, verb string, n note) (*dynamodb.UpdateItemOutput, error) {
	return t.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(t.config.Table), Key: keyOf(n.digest),
		UpdateExpression:          aws.String(verb + " " + setName + " :objects"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":objects": &types.AttributeValueMemberSS{Value: []string{n.object}}},
		ReturnValues:              types.ReturnValueAllNew,
	})
}

func keyOf(d digest.Digest) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{keyName: &types.AttributeValueMemberS{Value: d.String()}}
}

// asks reports whether the table is asked now.
func (t *Table) asks() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !time.Now().Before(t.quiet)
}

// failed has nobody ask for a while.
func (t *Table) failed(doing string, err error) {
	t.mu.Lock()
	t.quiet = time.Now().Add(t.config.Pause)
	t.mu.Unlock()
	t.log.Warn("the table of hints is not used for a while: clients upload what they could have been spared",
		"table", t.config.Table, "doing", doing, "pause_seconds", t.config.Pause.Seconds(), "error", err)
}
