package fsm

import (
	"fmt"
	"iter"
)

// limitsRecord is what SetLimits said, but for the quotas, which lie in a bucket of their own: a push must not pay for
// those that do not concern it.
type limitsRecord struct {
	MaxRepositories int64  `cbor:"1,keyasint,omitempty"` // 0: no limit
	Quotas          uint64 `cbor:"2,keyasint,omitempty"` // how many there are
}

// keyLimits is where the limits lie in meta.
var keyLimits = []byte("limits") //nolint:gochecknoglobals // a constant

func (r reader) limits() limitsRecord {
	l, _ := load[limitsRecord](r, meta, keyLimits)
	return l
}

// quota is how many bytes the repositories at and below a prefix may have, and whether that is limited.
func (r reader) quota(prefix string) (int64, bool) {
	return load[int64](r, quotas, within(prefix))
}

// judgeGrowth refuses what a limit forbids: that a repository begins to exist, or that it gets so many bytes more. It
// is asked in Apply, where one push comes after the other, so that two that fit alone cannot pass it together; what
// makes nothing larger is never refused. Every quota on the way from "" to the name holds.
func (r reader) judgeGrowth(name string, bytes int64) error {
	l := r.limits()
	if l.MaxRepositories > 0 {
		if _, exists := r.repository(name); !exists && r.usedBelow("").Repositories >= l.MaxRepositories {
			return ErrTooManyRepositories.with("the registry has %d repositories and may have %d: %s cannot be made",
				r.usedBelow("").Repositories, l.MaxRepositories, name)
		}
	}
	if bytes <= 0 || l.Quotas == 0 {
		return nil
	}
	for prefix := range upTo(name) {
		quota, limited := r.quota(prefix)
		if used := r.used(prefix).Bytes; limited && bytes > quota-used {
			return ErrQuotaExceeded.with("the quota of %s is %s, %s of it are used, and this needs %s more",
				nameOfPrefix(prefix), bytesOf(quota), bytesOf(used), bytesOf(bytes))
		}
	}
	return nil
}

// upTo yields the prefixes above a name and then the name.
func upTo(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for prefix := range above(name) {
			if !yield(prefix) {
				return
			}
		}
		yield(name)
	}
}

// nameOfPrefix is what people call what a quota is for.
func nameOfPrefix(prefix string) string {
	if prefix == "" {
		return "the whole registry"
	}
	return prefix
}

// bytesOf is a size for people. It is part of refusals, and these of the state: integers alone, for not every
// processor rounds alike.
func bytesOf(n int64) string {
	const units = "KMGTPE"
	unit, at := int64(1), 0
	for n/unit >= 1024 && at < len(units) {
		unit, at = unit<<10, at+1
	}
	if at == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	whole, tenth := n/unit, n%unit/((unit+9)/10)
	if n%unit == 0 {
		return fmt.Sprintf("%d %ciB", whole, units[at-1])
	}
	return fmt.Sprintf("%d.%d %ciB", whole, tenth, units[at-1])
}

// Limits returns what SetLimits said.
func (v View) Limits() Limits {
	l := Limits{MaxRepositories: v.limits().MaxRepositories}
	for key, value := range v.scan(quotas, nil, nil) {
		prefix, _ := cutName(key)
		l.Quotas = append(l.Quotas, Quota{prefix, mustDecode[int64](value)})
	}
	return l
}

// QuotaUse is a quota, and what is used of it.
type QuotaUse struct {
	Prefix string `json:"prefix"`
	Bytes  int64  `json:"bytes"`
	Used   int64  `json:"used"` // more than Bytes, if the quota came later
}

// QuotasUsed returns all quotas and what is used of them, in the order of their prefixes. There may be a thousand, and
// each costs two looks.
func (v View) QuotasUsed() []QuotaUse {
	var all []QuotaUse
	for _, q := range v.Limits().Quotas {
		all = append(all, QuotaUse{q.Prefix, q.Bytes, v.used(q.Prefix).Bytes})
	}
	return all
}

// Fits says whether a repository could get so many bytes more now, 0 for none: in time to spare somebody the bytes.
// Apply judges again.
//
// It fails with ErrQuotaExceeded or ErrTooManyRepositories.
func (v View) Fits(repository string, bytes int64) error { return v.judgeGrowth(repository, bytes) }

// FitsBlob is Fits of a blob of so many bytes: one that the repository has already always fits.
func (v View) FitsBlob(repository string, d Digest, size int64) error {
	return v.judgeLink(repository, d, size)
}
