package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// BackupID names a backup of the state: the SHA-256 that its stream ends with.
type BackupID [sha256.Size]byte

// String is 64 hexadecimal digits.
func (b BackupID) String() string { return hex.EncodeToString(b[:]) }

// MarshalText is String, for JSON.
func (b BackupID) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (b *BackupID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(b) {
		return fmt.Errorf("backup id %q is not 64 hexadecimal digits", text)
	}
	copy(b[:], raw)
	return nil
}

// BeginRestore begins to put what a backup holds into a cluster that holds nothing. RestoreRecords bring it, and
// EndRestore makes it one with the rest; until then every command that is not about the cluster itself is refused.
// Beginning the same restore again changes nothing.
//
// All of it goes through the log, as any other change does: so it is not possible that one node has restored the
// backup and the next leader has not, whatever fails in between, and nodes that join meanwhile need nothing of their
// own.
//
// Refused with:
//   - ErrRestoring if another backup is being restored
//   - ErrNotEmpty if there is anything that a backup could bring
//   - ErrLevelTooLow if the cluster has not the feature level of the backup
//   - ErrStoreUnknown if the cluster has not all stores of the backup
type BeginRestore struct {
	Backup  BackupID `cbor:"1,keyasint"`
	Sum     []byte   `cbor:"2,keyasint"` // what all records that it brings add up to
	Level   uint32   `cbor:"3,keyasint"` // feature level of the backup
	Stores  []string `cbor:"4,keyasint,omitempty"`
	Records uint64   `cbor:"5,keyasint,omitempty"` // how many it brings
}

// restoring is the restore that is under way.
type restoring struct {
	Backup  BackupID      `cbor:"1,keyasint"`
	Sum     []byte        `cbor:"2,keyasint"`
	Records uint64        `cbor:"3,keyasint,omitempty"` // of how many
	Done    uint64        `cbor:"4,keyasint,omitempty"` // have come
	Through RestoreCursor `cbor:"5,keyasint,omitzero"`
}

func (BeginRestore) wire() kind { return kind{"begin-restore", 1} }

func (c BeginRestore) check() error {
	switch {
	case c.Backup == BackupID{} || len(c.Sum) != sha256.Size:
		return fmt.Errorf("a backup without its hash, or a sum of %d bytes", len(c.Sum))
	case len(c.Stores) > maxStores:
		return fmt.Errorf("%d stores are more than %d", len(c.Stores), maxStores)
	}
	return nil
}

func (c BeginRestore) apply(t *tx) (None, error) {
	if now, under := t.restoring(); under {
		if now.Backup != c.Backup || !bytes.Equal(now.Sum, c.Sum) {
			return None{}, ErrRestoring.with("of backup %s; it can only be ended, or the nodes emptied", now.Backup)
		}
		return None{}, nil
	}
	if b, has := t.anyContent(); has {
		return None{}, ErrNotEmpty.with("there are %s", b)
	}
	if level := t.level(); c.Level > level {
		return None{}, ErrLevelTooLow.with("the backup is of level %d, the cluster has %d", c.Level, level)
	}
	for _, name := range c.Stores {
		if _, known := t.store(name); !known {
			return None{}, ErrStoreUnknown.with("%s", name)
		}
	}
	t.save(meta, keyRestoring, restoring{Backup: c.Backup, Sum: c.Sum, Records: c.Records})
	return None{}, nil
}

func (r reader) restoring() (restoring, bool) { return load[restoring](r, meta, keyRestoring) }

// anyContent returns a bucket of what a backup brings, or of what would be in its way, that has anything.
func (r reader) anyContent() (bucket, bool) {
	all := []bucket{idle, unlinked}
	for _, c := range contents() {
		all = append(all, c.bucket)
	}
	for _, b := range all {
		if r.countRecords(b, 1) > 0 {
			return b, true
		}
	}
	return "", false
}

// barred reports whether a command has to wait until the restore that is under way has ended: it would meet half of
// what belongs together.
func (t *tx) barred(c Command) bool {
	switch c.(type) {
	case TermStarted, HashCheck, ClusterFormed, RaiseLevel, SpendToken, SetStore, SetProgress, SetLimits, SetReadOnly,
		NodeStarted, NodeJoined, DrainNode, RetireNode, DropNode, ClearNode,
		BeginRestore, RestoreRecords, EndRestore:
		return false
	}
	return t.has(meta, keyRestoring)
}

// Restoring is the restore of a backup that is under way.
type Restoring struct {
	Backup        BackupID
	Records, Done uint64 // how many records it brings, and have come
	Through       RestoreCursor
}

// Restoring returns the restore of a backup that is under way, and whether there is one.
func (v View) Restoring() (Restoring, bool) {
	r, under := v.restoring()
	return Restoring{Backup: r.Backup, Records: r.Records, Done: r.Done, Through: r.Through}, under
}

// Restore is the newest restore of a backup into this cluster.
type Restore struct {
	Number uint64     `cbor:"1,keyasint"` // the log index at which it ended
	At     entry.Time `cbor:"2,keyasint"` // state time of that
	Backup BackupID   `cbor:"3,keyasint"`
}

// Restored returns the newest restore of a backup, and whether there was one.
func (v View) Restored() (Restore, bool) { return load[Restore](v.reader, meta, keyRestore) }

// IsRestore reports whether a payload is a command by which a backup is restored.
func IsRestore(payload []byte) bool {
	for _, c := range []Command{BeginRestore{}, RestoreRecords{}, EndRestore{}} {
		k := c.wire()
		if bytes.HasPrefix(payload, append([]byte{byte(len(k.name))}, k.name...)) { //nolint:gosec // a short name
			return true
		}
	}
	return false
}
