package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// endpoint is one resource of the specification.
type endpoint uint8

const (
	endpointBase endpoint = iota + 1
	endpointCatalog
	endpointTags
	endpointManifest
	endpointBlob
	endpointUploads
	endpointUpload
	endpointReferrers
)

// request is what the path of a request names.
type request struct {
	endpoint   endpoint
	repository string
	reference  oci.Reference // of endpointManifest
	digest     digest.Digest // of endpointBlob and endpointReferrers
	upload     string        // of endpointUpload: the id as it stands in the path
}

// named is the digest in it, or "".
func (q request) named() string { return string(q.digest) + string(q.reference.Digest) } // one of them is ""

// parseRequest reads a path. Names of repositories have slashes and may have components such as "blobs", so
// it is read from its end. A slash too many at the end, as some clients send, is overlooked.
//
// It fails with errNoRoute, oci.ErrNameInvalid, oci.ErrDigestInvalid, or what a bad tag means to the method.
func parseRequest(method, path string) (request, error) {
	if path == "/v2" {
		return request{endpoint: endpointBase}, nil
	}
	rest, below := strings.CutPrefix(path, "/v2/")
	if !below {
		return request{}, fmt.Errorf("%w: it is not below /v2/", errNoRoute)
	}
	if rest == "" {
		return request{endpoint: endpointBase}, nil
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "_catalog" {
		return request{endpoint: endpointCatalog}, nil
	}
	head, last := cutLast(rest)
	head, kind := cutLast(head)
	return parseBelow(method, head, kind, last)
}

// parseBelow reads what lies in a repository: head is all before the last two elements.
func parseBelow(method, head, kind, last string) (q request, err error) {
	q.repository = head
	switch {
	case kind == "blobs" && last == "uploads":
		q.endpoint = endpointUploads
	case kind == "uploads":
		repository, blobs := cutLast(head)
		if blobs != "blobs" {
			return request{}, errNoRoute
		}
		q.endpoint, q.repository, q.upload = endpointUpload, repository, last
	case kind == "tags" && last == "list":
		q.endpoint = endpointTags
	case kind == "blobs":
		q.endpoint = endpointBlob
		q.digest, err = oci.ParseDigest(last)
	case kind == "referrers":
		q.endpoint = endpointReferrers
		q.digest, err = oci.ParseDigest(last)
	case kind == "manifests":
		q.endpoint = endpointManifest
		q.reference, err = parseReference(method, last)
	default:
		return request{}, errNoRoute
	}
	if invalid := oci.ValidateRepository(q.repository); invalid != nil {
		return request{}, invalid
	}
	return q, err
}

// parseReference reads a tag or digest. What can be no tag is none that is there, for who looks for one.
func parseReference(method, s string) (oci.Reference, error) {
	ref, err := oci.ParseReference(s)
	if err != nil && method != http.MethodPut && !strings.Contains(s, ":") {
		return oci.Reference{}, fmt.Errorf("%w: %w", errManifestMissing, err)
	}
	return ref, err
}

// cutLast cuts the last element off a path.
func cutLast(path string) (head, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
