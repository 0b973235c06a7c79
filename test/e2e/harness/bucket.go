package harness

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Bucket is a bucket of an S3 server that keeps its objects as files.
type Bucket struct {
	Endpoint, Name, Region string
	AccessKey, SecretKey   string

	dir string
}

// Path is the file of an object.
func (b *Bucket) Path(key string) string { return filepath.Join(b.dir, filepath.FromSlash(key)) }

// Driver is the bucket as a configuration file has it, in "storageDriver".
func (b *Bucket) Driver(root string) map[string]any {
	return map[string]any{
		"name": "s3", "region": b.Region, "bucket": b.Name, "regionendpoint": b.Endpoint, "rootdirectory": root,
		"accesskey": b.AccessKey, "secretkey": b.SecretKey, "secure": false, "forcepathstyle": true,
	}
}

// StartBucket runs versitygw until the test ends, and makes a bucket in it.
func StartBucket(t testing.TB) *Bucket {
	t.Helper()
	program := Program(t, "VERSITYGW")
	root := t.TempDir()
	b := &Bucket{
		Endpoint: "http://" + local(FreePorts(t, 1)[0]), Name: "blobs", Region: "us-east-1",
		AccessKey: "tester", SecretKey: "secret-of-the-tester", dir: filepath.Join(root, "blobs"),
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(outlasting(t), program, "--port", b.Endpoint[len("http://"):], "--access", b.AccessKey, "--secret", b.SecretKey,
		"--region", b.Region, "--keep-alive", "--quiet", "posix", root)
	begin(t, "versitygw", syscall.SIGKILL, cmd) // nothing of it is needed any more
	Until(t, "the S3 server answers", func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.Endpoint[len("http://"):])
		if err != nil {
			return err
		}
		return c.Close()
	})
	return b
}
