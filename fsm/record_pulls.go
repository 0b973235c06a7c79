package fsm

import "fmt"

// maxPulls is how many manifests one RecordPulls may count pulls of.
const maxPulls = 500

// RecordPulls counts pulls, for retention and for people. Each node gathers its own and proposes them
// from time to time; what a node that dies had gathered is lost. Manifests that are gone are passed over.
//
// It is never refused.
type RecordPulls struct {
	Pulls []Pull `cbor:"1,keyasint"`
}

// Pull is how often a manifest was pulled since the last RecordPulls of a node.
type Pull struct {
	Repository string `cbor:"1,keyasint"`
	Digest     Digest `cbor:"2,keyasint"`
	Count      uint64 `cbor:"3,keyasint"`
}

func (RecordPulls) wire() kind { return kind{"record-pulls", 1} }

func (c RecordPulls) check() error {
	if len(c.Pulls) == 0 || len(c.Pulls) > maxPulls {
		return fmt.Errorf("%d pulls are not 1 to %d", len(c.Pulls), maxPulls)
	}
	return nil
}

func (c RecordPulls) apply(t *tx) (None, error) {
	for _, p := range c.Pulls {
		if _, there := t.manifest(p.Repository, p.Digest); !there {
			continue
		}
		r := t.pulls(p.Repository, p.Digest)
		r.Count += p.Count
		r.Newest = max(r.Newest, t.date)
		r.Last = t.index
		t.save(pulls, within(p.Repository, string(p.Digest)), r)
	}
	return None{}, nil
}
