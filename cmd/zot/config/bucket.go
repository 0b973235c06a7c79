package config

import (
	"fmt"
	"strings"
)

// Bucket is where copies go instead of below the root directory. Its keys are those of zot, which has them from the
// S3 driver of the distribution project.
type Bucket struct {
	Region, Name string
	Endpoint     string // of another store than Amazon's; "" is Amazon's
	Root         string // the prefix of all keys
	AccessKey    string
	SecretKey    string
	SessionToken string
	Secure       bool // whether an endpoint without scheme is asked over TLS
	SkipVerify   bool
	PathStyle    bool
	Encrypt      bool
	KeyID        string
	ChunkSize    int64 // of a part of an upload, in bytes
	StorageClass string
	ACL          string
	UserAgent    string
	DualStack    bool
	Accelerate   bool
	Redirect     bool // whether clients are sent there for the bytes of blobs; storage.redirectBlobURL
}

// What holds for keys that a driver does not have.
const (
	defaultChunkSize = 10 << 20
	minChunkSize     = 5 << 20
	maxChunkSize     = 5 << 30
)

// readDriver reads storage.storageDriver. Keys that are not known say nothing: for zot they are the driver's own.
func readDriver(s *section, c *Store) {
	name := ""
	switch known := s.oneOfOffered("name", &name, []string{"s3"}, []string{"gcs", "azure"}); {
	case name == "s3":
		readBucket(s, c)
		return
	case name != "":
		s.refuses(s.key("name"), `use "s3", or leave storageDriver out to store on disks`, "%q is a driver of zot that this version does not have", name)
	case known:
		s.problem(s.key("name"), `say "s3"`, "is missing")
	}
	s.ignoreRest()
}

func readBucket(s *section, c *Store) {
	b := &Bucket{Secure: true, ChunkSize: defaultChunkSize}
	s.text("region", &b.Region)
	s.text("bucket", &b.Name)
	s.text("regionendpoint", &b.Endpoint)
	s.text("rootdirectory", &b.Root)
	s.text("accesskey", &b.AccessKey)
	s.text("secretkey", &b.SecretKey)
	s.text("sessiontoken", &b.SessionToken)
	s.boolean("secure", &b.Secure)
	s.boolean("skipverify", &b.SkipVerify)
	b.PathStyle = b.Endpoint != ""
	s.boolean("forcepathstyle", &b.PathStyle)
	s.boolean("encrypt", &b.Encrypt)
	s.text("keyid", &b.KeyID)
	chunk := int(b.ChunkSize)
	s.number("chunksize", &chunk)
	b.ChunkSize = int64(chunk)
	s.word("storageclass", &b.StorageClass)
	b.StorageClass = strings.ToUpper(b.StorageClass)
	s.word("objectacl", &b.ACL)
	s.text("useragent", &b.UserAgent)
	s.boolean("usedualstack", &b.DualStack)
	s.boolean("accelerate", &b.Accelerate)
	signed := true
	if s.boolean("v4auth", &signed); !signed {
		s.problem(s.key("v4auth"), "remove it", "false asks for signatures that stores no longer take")
	}
	s.ignored("multipartcopychunksize", "multipartcopymaxconcurrency", "multipartcopythresholdsize", "loglevel")
	s.noteUnknown()
	c.Bucket = b
}

// ignoreRest makes all keys known.
func (s *section) ignoreRest() {
	for _, m := range s.object.members {
		s.ignored(m.name)
	}
}

// noteUnknown makes all other keys known, and says so: zot hands them to the driver, which takes any.
func (s *section) noteUnknown() {
	known := len(s.known)
	for _, m := range s.object.members {
		if near := nearest(m.name, s.known[:known]); !isKnown(s.known[:known], m.name) && near != "" {
			s.note(s.key(m.name), "says nothing; was %q meant?", near)
		} else if !isKnown(s.known[:known], m.name) {
			s.note(s.key(m.name), "says nothing")
		}
		s.ignored(m.name)
	}
}

// Host is the endpoint without what may be said in several ways: how it is asked is each node's own matter.
func (b *Bucket) Host() string {
	host := b.Endpoint
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	return strings.ToLower(strings.TrimRight(host, "/"))
}

// checkBucket checks the keys of a driver, whose paths begin with key.
func checkBucket(key string, b *Bucket, r *reader) {
	if b.Region == "" {
		r.problem(key+"region", `say it, as "us-east-1", which stores that have none take too`, "is missing")
	}
	if b.Name == "" {
		r.problem(key+"bucket", "say which bucket it is", "is missing")
	}
	if strings.Contains(b.Endpoint, "@") { // the cluster remembers the endpoint, and errors name it
		r.problem(key+"regionendpoint", "give host and port alone, and keys as accesskey and secretkey", "has a user or password in it")
	}
	if b.StorageClass == "GLACIER" || b.StorageClass == "DEEP_ARCHIVE" {
		r.problem(key+"storageclass", `leave it out, or use one that is read at once, as "STANDARD_IA"`, "%s is an archive: blobs could not be pulled", b.StorageClass)
	}
	if (b.AccessKey == "") != (b.SecretKey == "") {
		r.problem(key+"accesskey", "give both, or neither to use those of the environment or the machine", "accesskey and secretkey go together")
	}
	if b.ChunkSize < minChunkSize || b.ChunkSize > maxChunkSize {
		r.problem(key+"chunksize", fmt.Sprintf("give %d to %d bytes", minChunkSize, maxChunkSize), "%d bytes are no part that S3 takes", b.ChunkSize)
	}
	if b.KeyID != "" && !b.Encrypt {
		r.note(key+"keyid", "says nothing, for encrypt is false")
	}
}
