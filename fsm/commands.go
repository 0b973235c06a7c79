package fsm

// commands is the table of all commands, a line each. A retired command keeps its line for ever,
// marked so, because an old log or backup may hold it. Those by which clients or policies change what the
// registry has are content: they are refused while it is read-only.
func commands() []spec {
	return []spec{
		// The cluster itself.
		define[TermStarted, None](1),
		define[HashCheck, None](1),
		define[SetStore, None](1),
		define[ClusterFormed, None](1),
		define[RaiseLevel, None](1),
		define[SpendToken, None](1),
		define[SetLimits, None](1),
		define[SetReadOnly, None](1),
		define[BeginRestore, None](1),
		define[RestoreRecords, None](1),
		define[EndRestore, None](1),

		// Nodes.
		define[NodeStarted, None](1),
		define[NodeJoined, None](1),
		define[DrainNode, None](1),
		define[RetireNode, None](1),
		define[DropNode, None](1),
		define[VouchCopies, CopiesVouched](1),
		define[DropCopies, CopiesDropped](1),
		define[ClearNode, NodeCleared](1),

		// Blobs, their copies and links.
		content(define[BlobStored, None](1)),
		define[AddCopy, CopyAdded](1),
		define[GiveUpCopy, CopyGivenUp](1),
		define[CopyRemoved, None](1),
		content(define[Mount, None](1)),
		define[RenewLease, None](1),
		content(define[DeleteBlob, None](1)),
		define[CollectBlobs, BlobsCollected](1),

		// People and jobs.
		define[PutSession, None](1),
		define[DeleteSession, None](1),
		define[DeleteSessions, SessionsDeleted](1),
		define[ExpireSessions, ExpiredRemoved](1),
		define[CreateAPIKey, APIKey](1),
		define[RevokeAPIKey, None](1),
		define[RevokeAPIKeys, APIKeysRevoked](1),
		define[UseAPIKeys, None](1),
		define[ExpireAPIKeys, ExpiredRemoved](1),
		define[SetPreference, PreferenceSet](1),
		define[TrustKey, None](1),
		define[DistrustKey, None](1),
		define[SetProgress, None](1),

		// Repositories, manifests and tags.
		content(define[PutManifest, ManifestPut](1)),
		content(define[DeleteManifest, None](1)),
		content(define[DeleteTag, None](1)),
		content(define[RestoreTag, None](1)),
		define[RecordPulls, None](1),
		define[MoveRepository, None](1),
		define[MoveLink, None](1),
		define[CollectRepositories, RepositoriesCollected](1),
	}
}

// None is the result of a command that has nothing to say.
type None struct{}
