package fsm

import (
	"errors"
	"fmt"
)

// Refusal is the answer to a command that was judged and changed nothing. It is a result like any
// other: every node comes to the same one, and a retry gets it again.
type Refusal struct {
	Code   string `cbor:"1,keyasint"` // stable, part of the wire format
	Detail string `cbor:"2,keyasint,omitempty"`
}

// Error is for people.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

// Is makes errors.Is compare codes.
func (r *Refusal) Is(target error) bool {
	var other *Refusal
	return errors.As(target, &other) && other.Code == r.Code
}

// with returns r with words about the case at hand.
func (r *Refusal) with(format string, args ...any) *Refusal {
	return &Refusal{Code: r.Code, Detail: fmt.Sprintf(format, args...)}
}

// The refusals. Codes are for ever.
var (
	// ErrInvalid is for a command that its own check would have kept out of the log.
	ErrInvalid = &Refusal{Code: "invalid"}
	// ErrTooMany is for one record more than the state may hold of a kind.
	ErrTooMany = &Refusal{Code: "too many"}
	// ErrReadOnly is for what a client or a policy would change while nothing may be: see SetReadOnly.
	ErrReadOnly = &Refusal{Code: "registry is read-only"}
	// ErrQuotaExceeded and ErrTooManyRepositories are for what makes the registry larger than SetLimits allows.
	ErrQuotaExceeded       = &Refusal{Code: "quota exceeded"}
	ErrTooManyRepositories = &Refusal{Code: "too many repositories"}

	// The cluster itself.

	ErrClusterFormed = &Refusal{Code: "cluster is another"}
	ErrLevelTooEarly = &Refusal{Code: "feature level too early"}
	ErrTokenExpired  = &Refusal{Code: "token expired"}
	ErrTokenSpent    = &Refusal{Code: "token spent"}
	ErrRestoring     = &Refusal{Code: "a backup is being restored"}
	ErrRestoreOver   = &Refusal{Code: "no such restore is under way"}
	ErrRestoreStep   = &Refusal{Code: "the restore is not so far"}
	ErrNotEmpty      = &Refusal{Code: "the cluster is not empty"}
	ErrStoreUnknown  = &Refusal{Code: "store unknown"}

	// Nodes.

	ErrNodeUnknown    = &Refusal{Code: "node unknown"}
	ErrNodeRetired    = &Refusal{Code: "node is retired"}
	ErrNodeDropped    = &Refusal{Code: "node was dropped"}
	ErrNodeNotRetired = &Refusal{Code: "node is not retired"}
	ErrNodeNotDropped = &Refusal{Code: "node is not dropped"}
	ErrNodeNoMember   = &Refusal{Code: "node is no member"}
	ErrLastMember     = &Refusal{Code: "last member"}
	ErrTooFewNodes    = &Refusal{Code: "too few nodes would be left"}
	ErrLevelTooLow    = &Refusal{Code: "feature level too low"}
	ErrNodeHasCopies  = &Refusal{Code: "node has copies"}
	ErrSoleCopies     = &Refusal{Code: "node has sole copies"}
	ErrNotCleared     = &Refusal{Code: "a node that is gone has copies"}
	ErrRetirement     = &Refusal{Code: "a node was retired meanwhile"}

	// Blobs and links.

	ErrStampTooOld    = &Refusal{Code: "stamp too old"}
	ErrTooFewCopies   = &Refusal{Code: "too few copies"}
	ErrWrongStore     = &Refusal{Code: "wrong store"}
	ErrStoreElsewhere = &Refusal{Code: "copies of the store are elsewhere"}
	ErrBlobUnknown    = &Refusal{Code: "blob unknown"}
	ErrBlobDamaged    = &Refusal{Code: "blob is damaged"}
	ErrBlobSize       = &Refusal{Code: "blob has another size"}
	ErrBlobReferenced = &Refusal{Code: "blob is referenced"}
	ErrCopyUnknown    = &Refusal{Code: "copy unknown"}
	ErrCopySpent      = &Refusal{Code: "copy id is spent"}

	// People and jobs.

	ErrSessionOver       = &Refusal{Code: "session is over"}
	ErrAPIKeyExists      = &Refusal{Code: "API key exists"}
	ErrAPIKeyUnknown     = &Refusal{Code: "API key unknown"}
	ErrTrustedKeyUnknown = &Refusal{Code: "trusted key unknown"}
	ErrTermOver          = &Refusal{Code: "leadership term is over"}

	// Repositories, manifests and tags.

	ErrRepositoryUnknown   = &Refusal{Code: "repository unknown"}
	ErrManifestUnknown     = &Refusal{Code: "manifest unknown"}
	ErrManifestBlobUnknown = &Refusal{Code: "manifest blob unknown"}
	ErrManifestReferenced  = &Refusal{Code: "manifest is referenced"}
	ErrTagUnknown          = &Refusal{Code: "tag unknown"}
	ErrTagCondition        = &Refusal{Code: "tag condition failed"}
	ErrNeeded              = &Refusal{Code: "needed again"}
	ErrManyTags            = &Refusal{Code: "several tags"}
	ErrTooManyTags         = &Refusal{Code: "too many tags"}
)

// decodeRefusal is the inverse of encode for a *Refusal.
func decodeRefusal(b []byte) error {
	var r Refusal
	if err := decode(b, &r); err != nil {
		return fmt.Errorf("refusal: %w", err)
	}
	return &r
}
