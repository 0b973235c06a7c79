package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// handler answers a request whose path was read. An error that it returns becomes the answer.
type handler func(w *answer, r *http.Request, q request) error

// table is all endpoints of the distribution specification.
func (g *Registry) table() map[endpoint]map[string]handler {
	return map[endpoint]map[string]handler{
		endpointBase:      {http.MethodGet: g.base, http.MethodHead: g.base},                                                                                                                                 // end-1
		endpointBlob:      {http.MethodGet: g.getBlob, http.MethodHead: g.headBlob, http.MethodDelete: g.deleteBlob},                                                                                         // end-2, 10
		endpointManifest:  {http.MethodGet: g.getManifest, http.MethodHead: g.headManifest, http.MethodPut: g.putManifest, http.MethodDelete: g.deleteManifest},                                              // end-3, 7, 9
		endpointUploads:   {http.MethodPost: g.startUpload},                                                                                                                                                  // end-4, 11
		endpointUpload:    {http.MethodPatch: g.atOwner(g.appendUpload), http.MethodPut: g.atOwner(g.finishUpload), http.MethodGet: g.atOwner(g.uploadStatus), http.MethodDelete: g.atOwner(g.cancelUpload)}, // end-5, 6, 13, 14
		endpointTags:      {http.MethodGet: g.listTags, http.MethodHead: g.listTags},                                                                                                                         // end-8
		endpointReferrers: {http.MethodGet: g.listReferrers, http.MethodHead: g.listReferrers},                                                                                                               // end-12
		endpointCatalog:   {http.MethodGet: g.listRepositories, http.MethodHead: g.listRepositories},
	}
}

// route returns who answers a request, and what its path names.
func (g *Registry) route(w *answer, r *http.Request) (handler, request, error) {
	q, err := parseRequest(r.Method, r.URL.Path)
	if err != nil {
		return nil, request{}, err
	}
	if err := checkQuery(r.URL.RawQuery); err != nil {
		return nil, request{}, err
	}
	methods := g.routes[q.endpoint]
	h, ok := methods[r.Method]
	if !ok {
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", ")) // RFC 9110, 15.5.6
		return nil, request{}, fmt.Errorf("%w: %s", errMethod, r.Method)
	}
	return h, q, nil
}

// checkQuery sees to it that nothing of a query is overlooked: URL.Query leaves out what it cannot read, a tag that
// was to be put, say, and of two values of what there is one of nobody knows which is meant.
//
// It fails with errQuery.
func checkQuery(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errQuery, err)
	}
	for _, name := range []string{"artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n"} {
		if len(query[name]) > 1 {
			return fmt.Errorf("%w: more than one %s", errQuery, name)
		}
	}
	return nil
}

// base says that this is a registry.
func (g *Registry) base(w *answer, _ *http.Request, _ request) error {
	return writeJSON(w, "application/json", struct{}{})
}

// Methods are those that the endpoint of a path knows; of a path that is none of the distribution specification, all that
// are used anywhere.
func Methods(path string) []string {
	if q, err := parseRequest(http.MethodPut, path); err == nil {
		return append(slices.Sorted(maps.Keys((&Registry{}).table()[q.endpoint])), http.MethodOptions)
	}
	return []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodOptions}
}
