package ext

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/signed"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	maxTrusted     = 64 << 10 // of a key, or of certificates, in bytes
	maxTrustName   = 128      // of what a trust store is called, in bytes
	defaultStore   = "ca"
	defaultName    = "default" // of a trust store, as of those that zot makes by itself
	truststoreType = "truststoreType"
)

// trusted is what signatures are believed by, as administrators see it.
type trusted struct {
	Digest  digest.Digest `json:"digest"` // of the content, by which it is taken back
	Store   string        `json:"truststoreType,omitempty"`
	Name    string        `json:"truststoreName,omitempty"`
	Content string        `json:"content"`
	AddedBy string        `json:"addedBy,omitempty"`
	AddedAt time.Time     `json:"addedAt"`
}

// keysOf is what signatures of a tool are believed by.
func (e *Extensions) keysOf(tool fsm.SigningTool) http.Handler {
	return e.resource(map[string]api.Extension{
		http.MethodGet: func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
			return e.listTrusted(w, r, caller, tool)
		},
		http.MethodPost: func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
			return e.trust(w, r, caller, tool)
		},
		http.MethodDelete: func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
			return e.distrust(w, r, caller, tool)
		},
	})
}

// trustByResource is trust at the older path, where the tool is a parameter, and the name of a trust store has to be given.
func (e *Extensions) trustByResource(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if err := caller.MustAdminister(access.Create); err != nil {
		return err
	}
	query := r.URL.Query()
	tool, _ := fsm.ParseSigningTool(query.Get("tool"))
	switch {
	case query.Get("resource") != "signatures":
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "resource is signatures")
	case !slices.Contains(e.config.Signatures, tool):
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "tool is one of those whose signatures are checked here: %s", e.tools())
	case tool == fsm.Notation && query.Get("truststoreName") == "":
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "say what the trust store is called, as &truststoreName=default")
	}
	return e.trust(w, r, caller, tool)
}

func (e *Extensions) tools() string {
	var all []string
	for _, tool := range e.config.Signatures {
		all = append(all, tool.String())
	}
	return strings.Join(all, ", ")
}

// trust has signatures believed by a key, or by certificates.
func (e *Extensions) trust(w http.ResponseWriter, r *http.Request, caller auth.Caller, tool fsm.SigningTool) error {
	if err := caller.MustAdminister(access.Create); err != nil {
		return err
	}
	cmd := fsm.TrustKey{Tool: tool, By: caller.Name()}
	if tool == fsm.Notation {
		query := r.URL.Query()
		cmd.Store, cmd.Name = defaultStore, defaultName
		if query.Has(truststoreType) {
			cmd.Store = query.Get(truststoreType)
		}
		if query.Has("truststoreName") {
			cmd.Name = query.Get("truststoreName")
		}
		if !isTrustName(cmd.Name) {
			return api.Refuse(http.StatusBadRequest, codeUnsupported, "truststoreName has letters, digits, and . _ - alone, and %d of them at most", maxTrustName)
		}
	}
	var err error
	if cmd.Content, err = readBody(r, maxTrusted); err != nil {
		return err
	}
	if err := (signed.Trusted{Tool: signed.Tool(tool.String()), Store: cmd.Store, Content: cmd.Content}).Check(); err != nil {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "%v", err)
	}
	_, err = do(r.Context(), e.deps.Proposer, cmd)
	if errors.Is(err, fsm.ErrTooMany) {
		return api.Refuse(http.StatusConflict, codeUnsupported, "%v: take some back that are not needed any more", err)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, struct {
		Digest digest.Digest `json:"digest"`
	}{digest.FromBytes(cmd.Content)})
}

// isTrustName reports whether a trust store may be called so, as notation has it.
func isTrustName(name string) bool {
	return name != "" && len(name) <= maxTrustName && name != "." && name != ".." && !strings.ContainsFunc(name, func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-", c)
	})
}

// distrust has no signature believed any more by a key, or by certificates.
func (e *Extensions) distrust(w http.ResponseWriter, r *http.Request, caller auth.Caller, tool fsm.SigningTool) error {
	if err := caller.MustAdminister(access.Delete); err != nil {
		return err
	}
	d, err := fsm.Pack(digest.Digest(r.URL.Query().Get("digest")))
	if err != nil {
		return api.Refuse(http.StatusBadRequest, codeUnsupported, "say which, as ?digest=sha256:..., the digest that the list has")
	}
	_, err = do(r.Context(), e.deps.Proposer, fsm.DistrustKey{Tool: tool, Digest: d})
	switch {
	case errors.Is(err, fsm.ErrTrustedKeyUnknown):
		return api.Refuse(http.StatusNotFound, codeUnsupported, "nothing with this digest is trusted")
	case err != nil:
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// listTrusted lists by what signatures of a tool are believed.
func (e *Extensions) listTrusted(w http.ResponseWriter, r *http.Request, caller auth.Caller, tool fsm.SigningTool) error {
	if err := caller.MustAdminister(access.Read); err != nil {
		return err
	}
	list := struct {
		Keys []trusted `json:"keys"`
	}{[]trusted{}}
	err := e.read(w, r, func(v fsm.View) error {
		for _, k := range v.TrustedKeys() {
			if k.Tool == tool {
				list.Keys = append(list.Keys, trusted{
					Digest: k.Digest.Unpack(), Store: k.Store, Name: k.Name, Content: shownContent(k.Content), AddedBy: k.By, AddedAt: time.UnixMilli(k.Given).UTC(),
				})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

// shownContent is text as it was given, and certificates in DER as PEM.
func shownContent(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	all, err := x509.ParseCertificates(content)
	if err != nil { // nothing else is taken
		return ""
	}
	var text []byte
	for _, c := range all {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(text)
}
