package oci

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Errors of names.
var (
	ErrNameInvalid = errors.New("invalid repository name")
	ErrTagInvalid  = errors.New("invalid tag")
)

// The longest names, in bytes. The specification limits tags; repository names are limited because
// clients limit host and name together to 255.
const (
	MaxRepository = 255
	MaxTag        = 128
)

// ValidateRepository checks name against the grammar of the distribution specification ("Pulling
// manifests") and its length against MaxRepository.
//
// Errors: ErrNameInvalid.
func ValidateRepository(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrNameInvalid)
	}
	if len(name) > MaxRepository {
		return fmt.Errorf("%w: %q has more than %d characters", ErrNameInvalid, clip(name), MaxRepository)
	}
	for component := range strings.SplitSeq(name, "/") {
		if !isComponent(component) {
			return fmt.Errorf("%w: %q may have only lower-case letters and digits, separated by one of . _ __ - and /",
				ErrNameInvalid, name)
		}
	}
	return nil
}

// isComponent reports whether s is [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func isComponent(s string) bool {
	for {
		word := leading(s, isLowerOrDigit)
		if word == 0 {
			return false
		}
		s = s[word:]
		if s == "" {
			return true
		}
		separator := leading(s, isSeparator)
		switch run := s[:separator]; {
		case run == ".", run == "_", run == "__":
		case run != "" && strings.Trim(run, "-") == "":
		default:
			return false
		}
		s = s[separator:]
	}
}

// leading returns how many bytes at the start of s are in the class.
func leading(s string, class func(byte) bool) int {
	n := 0
	for n < len(s) && class(s[n]) {
		n++
	}
	return n
}

func isLowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isSeparator(c byte) bool { return c == '.' || c == '_' || c == '-' }

// ValidateTag checks tag against the grammar of the distribution specification.
//
// Errors: ErrTagInvalid.
func ValidateTag(tag string) error {
	if tag == "" {
		return fmt.Errorf("%w: it is empty", ErrTagInvalid)
	}
	if len(tag) > MaxTag {
		return fmt.Errorf("%w: %q has more than %d characters", ErrTagInvalid, clip(tag), MaxTag)
	}
	if tag[0] == '.' || tag[0] == '-' || leading(tag, isTagByte) != len(tag) {
		return fmt.Errorf("%w: %q may have only letters, digits, _ . and -, and may not start with . or -", ErrTagInvalid, tag)
	}
	return nil
}

func isTagByte(c byte) bool { return isLowerOrDigit(c) || isSeparator(c) || 'A' <= c && c <= 'Z' }

// Reference names a manifest in a repository: by tag, or by digest. Exactly one field is set.
type Reference struct {
	Tag    string
	Digest digest.Digest
}

// ParseReference returns the last element of a manifest's path as a reference. What contains a colon
// is meant as a digest, for no tag may contain one.
//
// Errors: ErrDigestInvalid, ErrTagInvalid.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	if err := ValidateTag(s); err != nil {
		return Reference{}, err
	}
	return Reference{Tag: s}, nil
}

// String returns the reference as it stands in a path.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}
