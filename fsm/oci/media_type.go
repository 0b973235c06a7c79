package oci

import (
	"errors"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrMediaTypeUnsupported is returned for a manifest of a media type that this registry does not
// keep. The message says which ones it does.
var ErrMediaTypeUnsupported = errors.New("unsupported manifest media type")

// The manifests of Docker, schema 2, which the image specification has no names for.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Media types that we only recognise: schema 1, to say why it is refused, and layers that the
// registry need not hold. (The image specification's own names for its three are deprecated.)
const (
	dockerSchema1          = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed    = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	dockerForeignLayer     = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	ociNonDistributable    = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	maxMediaType           = 255 // RFC 6838, 4.2: 127 characters each for type and subtype
	schema1Refused         = "Docker image manifest version 2, schema 1, is obsolete; push the image again with a current client"
	supportedManifestTypes = v1.MediaTypeImageManifest + ", " + v1.MediaTypeImageIndex + ", " +
		MediaTypeDockerManifest + ", " + MediaTypeDockerManifestList
)

// IsIndex reports whether mediaType, as a Manifest has it, is one of a manifest that lists manifests.
func IsIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// isManifest reports whether mediaType is one of the manifests that this registry keeps.
func isManifest(mediaType string) bool {
	return IsIndex(mediaType) || mediaType == v1.MediaTypeImageManifest || mediaType == MediaTypeDockerManifest
}

// isOCI reports whether mediaType is a manifest of the image specification, not one of Docker's.
func isOCI(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == v1.MediaTypeImageIndex
}

// mayBeAbsent reports whether a layer of this media type need not be in the registry.
func mayBeAbsent(mediaType string) bool {
	base, _, _ := strings.Cut(normalMediaType(mediaType), "+")
	return base == ociNonDistributable || base == dockerForeignLayer || base == dockerForeignLayer+".gzip"
}

// normalMediaType removes parameters and makes case uniform: media types are compared without either
// (RFC 9110, 8.3.1).
func normalMediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

// manifestMediaType settles what a manifest is: declared is the Content-Type, inBody the manifest's
// own mediaType field; either may be empty.
func manifestMediaType(declared, inBody string) (string, error) {
	declared, inBody = normalMediaType(declared), normalMediaType(inBody)
	chosen := declared
	if chosen == "" {
		chosen = inBody
	}
	switch {
	case chosen == "":
		return "", invalid("neither Content-Type nor the field mediaType says what it is")
	case chosen == dockerSchema1, chosen == dockerSchema1Signed:
		return "", fmt.Errorf("%w: %s", ErrMediaTypeUnsupported, schema1Refused)
	case !isManifest(chosen):
		return "", fmt.Errorf("%w: %q is none of %s", ErrMediaTypeUnsupported, clip(chosen), supportedManifestTypes)
	case inBody != "" && inBody != chosen:
		return "", invalid("Content-Type is %q, but the field mediaType is %q", chosen, clip(inBody))
	}
	return chosen, nil
}
