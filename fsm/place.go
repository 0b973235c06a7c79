package fsm

import "fmt"

// Place says where the copies of a store are: in a bucket, which all nodes share, or, if it is zero, on the disks of
// the nodes. It says nothing of how a node gets at them.
type Place struct {
	Bucket   string `cbor:"1,keyasint"`
	Endpoint string `cbor:"2,keyasint,omitempty"` // "" for Amazon's
	Root     string `cbor:"3,keyasint,omitempty"` // what all keys begin with, before the id of the cluster
}

// maxPlace bounds each word of a Place, in bytes. A key of S3 has 1,024.
const maxPlace = 1 << 10

// IsBucket reports whether it is one.
func (p Place) IsBucket() bool { return p != Place{} }

// String is for people, after "the copies are".
func (p Place) String() string {
	if !p.IsBucket() {
		return "on the disks of the nodes"
	}
	s := fmt.Sprintf("in bucket %q", p.Bucket)
	if p.Root != "" {
		s += fmt.Sprintf(" below %q", p.Root)
	}
	if p.Endpoint != "" {
		s += " at " + p.Endpoint
	}
	return s
}

func (p Place) check() error {
	if p.IsBucket() && p.Bucket == "" {
		return fmt.Errorf("a place without a bucket: %+v", p)
	}
	if n := max(len(p.Bucket), len(p.Endpoint), len(p.Root)); n > maxPlace {
		return fmt.Errorf("%d bytes to name a bucket are more than %d", n, maxPlace)
	}
	return nil
}
