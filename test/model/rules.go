package model

// Rules takes single rules of docs/design/gc.md away. The zero value is the protocol; each field is one mutation, and the comment
// says what is done instead. "As first designed" marks what the design's first wording said or left open.
type Rules struct {
	// what is recorded
	SurplusNewDoomed  bool // as first designed: BlobStored on a full record dooms the new copies, not the old ones
	TwoPerNode        bool // as first designed: two copies on one node count as two
	RetiredMayHold    bool // as first designed: only removed incarnations are refused as locations, retired ones are not
	NoMemberCheck     bool // locations on removed incarnations are accepted
	NoWindow          bool // BlobStored is accepted however old its copies are
	AddCopyNoWindow   bool // as first designed: AddCopy carries no state time
	NoTermCheck       bool // an envelope stamped by an old leader is judged by the time written in it
	AckOne            bool // one durable copy is enough, whatever W says
	AckPresent        bool // a store that has the digest already acknowledges without writing
	NewIDPerPut       bool // as first designed: a repeated PUT proposes the same copies under a new request id
	RestampByRename   bool // copies that got too old are renamed to new copy ids and proposed again
	ForgetIDs         bool // the results of requests are not remembered
	RefuseWhileDoomed bool // an upload is refused while old copies of the digest are doomed
	AddCreates        bool // AddCopy makes the record when there is none

	// files
	SweepOwnTime     bool // as first designed: the age of an unknown file is counted by the sweeping node's own, perhaps old, state
	SweepShort       bool // unknown files are removed as early as BlobStored may still be accepted
	NoSweep          bool // nobody removes unknown files
	DigestIsName     bool // a copy has no id of its own: the file is named by the digest
	RemoveUnapplied  bool // a holder removes on the leader's request, before it has applied the command
	NeverConfirm     bool // removed files are not confirmed
	ConfirmUnremoved bool // a holder confirms before it has removed, and forgets when it crashes in between (harmless: swept)
	OfflineIsEmpty   bool // a store without its marker counts as empty: its locations are given up

	// clients
	HeadLocal       bool // HEAD answers from the node's own state
	HeadNeverRenews bool // HEAD does not renew the lease
	HeadUnconfirmed bool // HEAD answers 200 though the renewal found no link
	HeadNoMargin    bool // as first designed: HEAD takes the time of the newest entry for the present time
	NoTick          bool // as first designed: an idle leader writes no entry, so its time is not known to the others
	MountUnchecked  bool // mount does not check the source's link in Apply
	PutUnchecked    bool // PutManifest does not check the links in Apply
	NoLeaseAtZero   bool // no lease starts when the count falls to zero
	PutUnmarks      bool // a PUT of a manifest whose deletion is not finished only takes the mark away
	DamagedVisible  bool // as first designed: HEAD, mount and PutManifest take a damaged blob for a present one
	ShortLease      bool // the lease is shorter than twice the window for repeated requests

	// collector and members
	CollectUnchecked bool // CollectBlobs is not checked again in Apply
	GiveUpLast       bool // the last location may be given up
	RetireChecked    bool // as first designed: RetireNode is refused while a blob has copies only on retired nodes
	DropAtOnce       bool // as first designed: a retired node is removed at once, whatever copies remain
	NoVouch          bool // as first designed: locations count towards a removal though nobody has looked at them
	VouchUnhashed    bool // a holder vouches for a copy that it has not hashed
	OldVouch         bool // VouchCopies is accepted though a node was retired since the copy was hashed
	VouchStays       bool // what was vouched for once stays so when another node is retired
	ClearLater       bool // a location on a dropped node makes a blob good until it is cleared
	GhostsHold       bool // a location on a dropped node is another one for GiveUpCopy
	DropKeepsDoomed  bool // as first designed: the doomed entries of a removed node stay
}

// Manifest is one manifest that a client may push.
type Manifest struct {
	Repo uint8
	Refs uint8 // digests, as bits
}

// Config is one bounded world.
type Config struct {
	Name, What string
	N, Slots   int  // members at the start; node incarnations that can be (the rest may be admitted)
	S3         bool // one shared bucket instead of disks
	D, Repos   int
	W, R, CW   int // durable copies, replicas, copies that one upload writes at most
	Mans       []Manifest

	K, S, L, G uint8 // in ticks: BlobStored and request window; unknown files; lease; promise to a client
	Replace    bool  // AddCopy may replace a location
	Early      bool  // HEAD renews a tick earlier than it must; with Idle it always does
	DelSteps   bool  // DELETE manifest marks, and counts down in steps
	Idle       bool  // the leader's time runs on while no entry is written

	Uploads, Repairs, Heads, Mounts, Puts, Dels, DelBlobs, Dups uint8
	Losses, Rots, Offs, Retires, Admits                         uint8
	Unbounded                                                   bool // random walks: nothing is used up
	Refusals                                                    bool // Steps emits commands that are refused, too
	Drain                                                       bool

	Rules    Rules
	Harmless bool // a mutation that is expected to break nothing
}
