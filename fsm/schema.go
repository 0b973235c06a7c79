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
)

// replicated lists the buckets that count in the state hash, in the order in which they are hashed.
func replicated() []bucket {
	return []bucket{meta, nodes, stores, requests, expiries}
}
