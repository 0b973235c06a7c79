// Package oci is the nouns of the field: digests, repository names, tags, references, and what a
// manifest refers to. It turns what strangers send into values that the rest may rely on.
//
// It does no I/O and knows nothing of repositories that exist, of storage, HTTP or the log. Start with
// ParseManifest. What it keeps for others: a Manifest lists everything that must be present before it
// may become visible (invariant 2), each digest once (invariant 3 counts manifests, not mentions), and
// says the same of a body as every other parser does, because bodies on which parsers disagree are
// refused. Bodies are never encoded again: a digest is that of the bytes as they came.
package oci
