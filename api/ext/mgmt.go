package ext

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
)

// Mgmt is what everybody may know of a configuration, so that pages can show how to log in. It has no secrets.
type Mgmt struct {
	DistSpecVersion string   `json:"distSpecVersion"`
	Commit          string   `json:"commit,omitempty"`
	ReleaseTag      string   `json:"releaseTag,omitempty"`
	BinaryType      string   `json:"binaryType"`
	HTTP            MgmtHTTP `json:"http"`
}

// MgmtHTTP is the part of it about clients.
type MgmtHTTP struct {
	Auth *MgmtAuth `json:"auth,omitempty"` // nil: nobody is asked who they are
}

// MgmtAuth says by which ways one can log in.
type MgmtAuth struct {
	Htpasswd *struct{}   `json:"htpasswd,omitempty"` // with a name and a password, of whatever method
	OpenID   *MgmtOpenID `json:"openid,omitempty"`
	Bearer   *MgmtBearer `json:"bearer,omitempty"` // with a token of another service
	APIKey   bool        `json:"apikey,omitempty"`
}

// MgmtBearer says where that makes its tokens.
type MgmtBearer struct {
	Realm   string `json:"realm,omitempty"`
	Service string `json:"service,omitempty"`
}

// MgmtOpenID has the providers that one can log in with, by their names in the addresses of a login.
type MgmtOpenID struct {
	Providers map[string]MgmtProvider `json:"providers"`
}

// MgmtProvider is one of them.
type MgmtProvider struct {
	Name string `json:"name,omitempty"` // for people
}

// showMgmt shows it.
func (e *Extensions) showMgmt(w http.ResponseWriter, r *http.Request) error {
	if err := admit(w, r, http.MethodGet); err != nil {
		return err
	}
	return answer(w, http.StatusOK, e.config.Mgmt)
}

// mgmt shows it also to who has not logged in. What else is asked there is about the keys by which signatures are believed, where
// these are checked.
func (e *Extensions) mgmt() http.Handler {
	shown := e.deps.Registry.ExtendToAll(e.showMgmt)
	if len(e.config.Signatures) == 0 {
		return shown
	}
	keys := e.resource(map[string]api.Extension{
		http.MethodGet:  func(w http.ResponseWriter, r *http.Request, _ auth.Caller) error { return e.showMgmt(w, r) },
		http.MethodPost: e.trustByResource,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			shown.ServeHTTP(w, r)
			return
		}
		keys.ServeHTTP(w, r)
	})
}

// discovered is an extension in the words of the specification.
type discovered struct {
	Name        string   `json:"name"`
	URL         string   `json:"url"`
	Description string   `json:"description"`
	Endpoints   []string `json:"endpoints"`
}

// below are the paths of the extensions that the specification lets a client discover.
const below = "/v2/_zot/ext/"

// discover lists what is on.
func (e *Extensions) discover(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	list := struct {
		Extensions []discovered `json:"extensions"`
	}{[]discovered{}}
	one := discovered{Name: "_zot", URL: e.deps.Gate().Origin(r) + below, Description: "zot registry extensions", Endpoints: []string{}}
	for at := range e.paths {
		if strings.HasPrefix(at, below) {
			one.Endpoints = append(one.Endpoints, at)
		}
	}
	if slices.Sort(one.Endpoints); len(one.Endpoints) > 0 {
		list.Extensions = append(list.Extensions, one)
	}
	return answer(w, http.StatusOK, list)
}
