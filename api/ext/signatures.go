package ext

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/signed"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxChecks is how many images may have their signatures checked at once: it takes reading and arithmetic, and perhaps a
// question to who has issued a certificate.
const maxChecks = 8

// checkTime bounds one, with all that it reads.
const checkTime = 15 * time.Second

// signature is one of an image, in the words of zot's search.
type signature struct {
	Tool      signed.Tool   `json:"Tool"`
	IsTrusted bool          `json:"IsTrusted"`
	Author    string        `json:"Author"`
	Digest    digest.Digest `json:"Digest"` // of the manifest that it is in
}

// signatures says who has signed an image, to whom may pull it.
func (e *Extensions) signatures(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	query := r.URL.Query()
	repository := query.Get("repo")
	ref, err := oci.ParseReference(query.Get("reference"))
	if oci.ValidateRepository(repository) != nil || err != nil {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "say of which image, as ?repo=NAME&reference=TAG, or with its digest for a tag")
	}
	if err := caller.To(ref.Tag, string(ref.Digest)).Must(repository, access.Read); err != nil { // whether it is there is not told
		return err
	}
	var trusted []signed.Trusted
	err = e.read(w, r, func(v fsm.View) error {
		for _, k := range v.TrustedKeys() {
			trusted = append(trusted, signed.Trusted{Tool: signed.Tool(k.Tool.String()), Store: k.Store, Content: k.Content})
		}
		return nil
	})
	if err != nil {
		return err
	}
	content := e.deps.Registry.Content(repository)
	image, err := content.Resolve(ref)
	if err != nil {
		return err
	}
	found, err := e.check(r.Context(), content, image, trusted)
	if err != nil {
		return fmt.Errorf("look for signatures of %s@%s: %w", repository, image.Digest, err)
	}
	if len(found) == 0 && w.Header().Get(headerConsistency) != "" {
		return fmt.Errorf("%w: no signature of %s is known here, and this node cannot tell whether there are any by now", api.ErrUnavailable, image.Digest)
	}
	shown := struct {
		Digest        digest.Digest `json:"Digest"`
		IsSigned      bool          `json:"IsSigned"`
		SignatureInfo []signature   `json:"SignatureInfo"`
	}{image.Digest, false, []signature{}}
	for _, s := range found {
		if tool, _ := fsm.ParseSigningTool(string(s.Tool)); slices.Contains(e.config.Signatures, tool) {
			shown.SignatureInfo = append(shown.SignatureInfo, signature{s.Tool, s.Trusted, s.Author, s.Digest})
		}
	}
	shown.IsSigned = len(shown.SignatureInfo) > 0
	return answer(w, http.StatusOK, shown)
}

// check is signed.Of, of so many at once, and for so long.
func (e *Extensions) check(ctx context.Context, in signed.Repository, image v1.Descriptor, trusted []signed.Trusted) ([]signed.Signature, error) {
	select {
	case e.checks <- struct{}{}:
		defer func() { <-e.checks }()
	default:
		return nil, api.Refuse(http.StatusTooManyRequests, "TOOMANYREQUESTS", "the signatures of %d images are being checked: try again", maxChecks)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return signed.Of(ctx, in, image, trusted)
}
