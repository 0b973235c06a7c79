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
	ErrInvalid = &Refusal{Code: "invalid"} //nolint:gochecknoglobals // a sentinel error
	// ErrTooMany is for one record more than the state may hold of a kind.
	ErrTooMany = &Refusal{Code: "too many"} //nolint:gochecknoglobals // a sentinel error

	// The cluster itself.
	ErrClusterFormed = &Refusal{Code: "cluster is another"}      //nolint:gochecknoglobals // a sentinel error
	ErrLevelTooEarly = &Refusal{Code: "feature level too early"} //nolint:gochecknoglobals // a sentinel error

	// Nodes.
	ErrNodeUnknown    = &Refusal{Code: "node unknown"}                   //nolint:gochecknoglobals // a sentinel error
	ErrNodeRetired    = &Refusal{Code: "node is retired"}                //nolint:gochecknoglobals // a sentinel error
	ErrNodeDropped    = &Refusal{Code: "node was dropped"}               //nolint:gochecknoglobals // a sentinel error
	ErrNodeNotRetired = &Refusal{Code: "node is not retired"}            //nolint:gochecknoglobals // a sentinel error
	ErrNodeNotDropped = &Refusal{Code: "node is not dropped"}            //nolint:gochecknoglobals // a sentinel error
	ErrNodeNoMember   = &Refusal{Code: "node is no member"}              //nolint:gochecknoglobals // a sentinel error
	ErrLastMember     = &Refusal{Code: "last member"}                    //nolint:gochecknoglobals // a sentinel error
	ErrLevelTooLow    = &Refusal{Code: "feature level too low"}          //nolint:gochecknoglobals // a sentinel error
	ErrNodeHasCopies  = &Refusal{Code: "node has copies"}                //nolint:gochecknoglobals // a sentinel error
	ErrSoleCopies     = &Refusal{Code: "node has sole copies"}           //nolint:gochecknoglobals // a sentinel error
	ErrNotCleared     = &Refusal{Code: "a node that is gone has copies"} //nolint:gochecknoglobals // a sentinel error
	ErrRetirement     = &Refusal{Code: "a node was retired meanwhile"}   //nolint:gochecknoglobals // a sentinel error

	// Blobs and links.
	ErrStampTooOld    = &Refusal{Code: "stamp too old"}      //nolint:gochecknoglobals // a sentinel error
	ErrTooFewCopies   = &Refusal{Code: "too few copies"}     //nolint:gochecknoglobals // a sentinel error
	ErrWrongStore     = &Refusal{Code: "wrong store"}        //nolint:gochecknoglobals // a sentinel error
	ErrBlobUnknown    = &Refusal{Code: "blob unknown"}       //nolint:gochecknoglobals // a sentinel error
	ErrBlobDamaged    = &Refusal{Code: "blob is damaged"}    //nolint:gochecknoglobals // a sentinel error
	ErrBlobReferenced = &Refusal{Code: "blob is referenced"} //nolint:gochecknoglobals // a sentinel error
	ErrCopyUnknown    = &Refusal{Code: "copy unknown"}       //nolint:gochecknoglobals // a sentinel error
	ErrCopySpent      = &Refusal{Code: "copy id is spent"}   //nolint:gochecknoglobals // a sentinel error

	// People and jobs.
	ErrSessionOver   = &Refusal{Code: "session is over"}         //nolint:gochecknoglobals // a sentinel error
	ErrAPIKeyExists  = &Refusal{Code: "API key exists"}          //nolint:gochecknoglobals // a sentinel error
	ErrAPIKeyUnknown = &Refusal{Code: "API key unknown"}         //nolint:gochecknoglobals // a sentinel error
	ErrTermOver      = &Refusal{Code: "leadership term is over"} //nolint:gochecknoglobals // a sentinel error

	// Repositories, manifests and tags.
	ErrRepositoryUnknown   = &Refusal{Code: "repository unknown"}     //nolint:gochecknoglobals // a sentinel error
	ErrManifestUnknown     = &Refusal{Code: "manifest unknown"}       //nolint:gochecknoglobals // a sentinel error
	ErrManifestBlobUnknown = &Refusal{Code: "manifest blob unknown"}  //nolint:gochecknoglobals // a sentinel error
	ErrManifestReferenced  = &Refusal{Code: "manifest is referenced"} //nolint:gochecknoglobals // a sentinel error
	ErrTagUnknown          = &Refusal{Code: "tag unknown"}            //nolint:gochecknoglobals // a sentinel error
	ErrTagCondition        = &Refusal{Code: "tag condition failed"}   //nolint:gochecknoglobals // a sentinel error
	ErrManyTags            = &Refusal{Code: "several tags"}           //nolint:gochecknoglobals // a sentinel error
	ErrTooManyTags         = &Refusal{Code: "too many tags"}          //nolint:gochecknoglobals // a sentinel error
)

// decodeRefusal is the inverse of encode for a *Refusal.
func decodeRefusal(b []byte) error {
	var r Refusal
	if err := decode(b, &r); err != nil {
		return fmt.Errorf("refusal: %w", err)
	}
	return &r
}
