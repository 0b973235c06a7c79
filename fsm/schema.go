package fsm

// bucket is a top-level bucket of fsm.db. All but local hold replicated records, which count in the
// state hash; their keys and encodings change only with the feature level.
type bucket string

const (
	// local holds what is this node's own: position, sums, incarnation, fence. It is not hashed.
	local bucket = "local"

	meta     bucket = "meta"     // cluster identity, feature level: one record each
	nodes    bucket = "nodes"    // <incarnation> -> entry.Node
	stores   bucket = "stores"   // <name> -> storeRecord
	requests bucket = "requests" // <incarnation><random><sequence> -> kept result
	expiries bucket = "expiries" // <state time><request key> -> nothing; which results go next

	spentTokens bucket = "spentTokens" // <expiry, a date><token> -> spending

	// Repositories and what is in them. No name of a repository, store or tag has a zero byte.
	repositories bucket = "repositories" // <repository> -> repositoryRecord
	catalog      bucket = "catalog"      // <repository> -> nothing; those with a manifest
	vacant       bucket = "vacant"       // <repository> -> nothing; those with neither manifest nor link
	moving       bucket = "moving"       // <repository> -> nothing; those with links to blobs of another store than theirs
	manifests    bucket = "manifests"    // <repository> 0 <digest> -> manifestRecord
	bodies       bucket = "bodies"       // <repository> 0 <digest> -> the body, unless it is a blob
	references   bucket = "references"   // <repository> 0 <digest> -> referencesRecord
	namedBy      bucket = "namedBy"      // <repository> 0 <as><digest><manifest's digest> -> nothing
	loose        bucket = "loose"        // <repository> 0 <digest> -> nothing; manifests that no tag names and no index lists
	referrers    bucket = "referrers"    // <repository> 0 <subject><artifact type> 0 <digest> -> referrerRecord
	tags         bucket = "tags"         // <repository> 0 <tag> -> tagRecord
	tagged       bucket = "tagged"       // <repository> 0 <digest><tag> -> nothing
	history      bucket = "history"      // <repository> 0 <tag> -> historyRecord
	untagged     bucket = "untagged"     // <repository> 0 <log index><tag> -> nothing; deleted tags, in order
	pulls        bucket = "pulls"        // <repository> 0 <digest> -> pullsRecord
	links        bucket = "links"        // <repository> 0 <digest> -> linkRecord
	below        bucket = "below"        // <prefix> 0 -> Used; of the repositories below it, "" is above all
	quotas       bucket = "quotas"       // <prefix> 0 -> bytes

	// People and jobs. No subject, owner or user has a zero byte; dates are eight bytes.
	sessions      bucket = "sessions"      // <cookie's hash> -> Session
	sessionsOf    bucket = "sessionsOf"    // <subject> 0 <expiry><cookie's hash> -> nothing
	sessionsUntil bucket = "sessionsUntil" // <expiry><cookie's hash> -> nothing
	apiKeys       bucket = "apiKeys"       // <key's hash> -> APIKey
	apiKeysOf     bucket = "apiKeysOf"     // <owner> 0 <id> -> key's hash
	apiKeysUntil  bucket = "apiKeysUntil"  // <expiry><key's hash> -> nothing; those that expire
	preferences   bucket = "preferences"   // <user> 0 <repository> -> preference
	starred       bucket = "starred"       // <repository> -> stars; those with any
	trusted       bucket = "trusted"       // <signing tool><content's digest><trust store> 0 <its name> -> TrustedKey
	jobs          bucket = "jobs"          // <name> -> progress

	// Blobs and their copies. A bucket of S3 has no incarnation: sixteen zero bytes.
	idle     bucket = "idle"     // <store> 0 <lease start><repository> 0 <digest> -> nothing; links with count 0
	blobs    bucket = "blobs"    // <store> 0 <digest> -> blobRecord
	unlinked bucket = "unlinked" // <store> 0 <digest> -> nothing; blobs without any link record
	damaged  bucket = "damaged"  // <store> 0 <digest> -> nothing
	copies   bucket = "copies"   // <store> 0 <n><digest> -> nothing; n locations are recorded, two bytes
	linked   bucket = "linked"   // <store> 0 <digest><repository> -> nothing; link records, expired ones too
	recorded bucket = "recorded" // <incarnation><store> 0 <copy id> -> digest
	on       bucket = "on"       // <incarnation><store> 0 <digest> -> nothing; not for S3
	sole     bucket = "sole"     // <incarnation><store> 0 <digest> -> nothing; the one location, undamaged
	doomed   bucket = "doomed"   // <incarnation><store> 0 <copy id> -> nothing
	held     bucket = "held"     // <incarnation><store> 0 -> Held; where any copy is recorded
)

// replicated lists the buckets that count in the state hash, in the order in which they are hashed.
func replicated() []bucket {
	return []bucket{
		meta, nodes, stores, requests, expiries,
		repositories, catalog, vacant, moving, manifests, bodies, references, namedBy, loose, referrers,
		tags, tagged, history, untagged, pulls, links, below, quotas,
		idle, blobs, linked, unlinked, damaged, copies, recorded, on, sole, doomed, held,
		sessions, sessionsOf, sessionsUntil, apiKeys, apiKeysOf, apiKeysUntil, preferences, starred, trusted, jobs,
		spentTokens,
	}
}
