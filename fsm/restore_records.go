package fsm

import "fmt"

// The bounds of one RestoreRecords: the newest entries of the log are kept in memory.
const (
	maxRestoreRecords = 1000
	restoreAtOnce     = 128 << 10 // bytes of keys and values; one record may be more
)

// RestoreRecords brings some of what a backup holds, as Saved.Next makes it: the records after a place in the backup.
// They come in one order, each once.
//
// Refused with:
//   - ErrRestoreOver if that backup is not being restored
//   - ErrRestoreStep if the records that came before are others: View.Restoring says how far it is
type RestoreRecords struct {
	Backup  BackupID         `cbor:"1,keyasint"`
	After   RestoreCursor    `cbor:"2,keyasint,omitzero"`
	Through RestoreCursor    `cbor:"3,keyasint"`
	Bucket  string           `cbor:"4,keyasint"`
	Records []RestoredRecord `cbor:"5,keyasint"`
}

// RestoreCursor is a place in a backup: the last record from which something was made for a bucket. Zero is before
// all.
type RestoreCursor struct {
	Bucket string `cbor:"1,keyasint"`
	Key    []byte `cbor:"2,keyasint"`
}

// IsZero reports whether it is before all.
func (c RestoreCursor) IsZero() bool { return c.Bucket == "" }

func (c RestoreCursor) is(o RestoreCursor) bool {
	return c.Bucket == o.Bucket && string(c.Key) == string(o.Key)
}

// RestoredRecord is one record.
type RestoredRecord struct {
	Key   []byte `cbor:"1,keyasint"`
	Value []byte `cbor:"2,keyasint,omitempty"`
}

func (RestoreRecords) wire() kind { return kind{"restore-records", 1} }

func (c RestoreRecords) check() error {
	switch {
	case restorable(bucket(c.Bucket)) < 0:
		return fmt.Errorf("bucket %q is not restored", c.Bucket)
	case len(c.Records) == 0 || len(c.Records) > maxRestoreRecords:
		return fmt.Errorf("%d records are not 1 to %d", len(c.Records), maxRestoreRecords)
	case c.Through.IsZero():
		return fmt.Errorf("records that end nowhere")
	}
	for _, r := range c.Records {
		if len(r.Key) == 0 {
			return fmt.Errorf("a record without a key")
		}
	}
	return nil
}

func (c RestoreRecords) apply(t *tx) (None, error) {
	if restorable(bucket(c.Bucket)) < 0 {
		return None{}, ErrInvalid
	}
	now, under := t.restoring()
	switch {
	case !under || now.Backup != c.Backup:
		return None{}, ErrRestoreOver.with("of backup %s", c.Backup)
	case !now.Through.is(c.After):
		return None{}, ErrRestoreStep.with("%d records of bucket %s have come", now.Done, now.Through.Bucket)
	}
	for _, r := range c.Records {
		t.put(bucket(c.Bucket), r.Key, r.Value)
	}
	now.Done += uint64(len(c.Records))
	now.Through = c.Through
	t.save(meta, keyRestoring, now)
	return None{}, nil
}
