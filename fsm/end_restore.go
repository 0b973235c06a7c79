package fsm

import (
	"bytes"
	"fmt"
)

// EndRestore ends the restore of a backup: all that BeginRestore has announced is there, record by record. Ending it
// again changes nothing.
//
// Refused with:
//   - ErrRestoreOver if that backup is not being restored
//   - ErrRestoreStep if what has come does not add up to what was announced
type EndRestore struct {
	Backup BackupID `cbor:"1,keyasint"`
}

func (EndRestore) wire() kind { return kind{"end-restore", 1} }

func (c EndRestore) check() error {
	if c.Backup == (BackupID{}) {
		return fmt.Errorf("a backup without its hash")
	}
	return nil
}

func (c EndRestore) apply(t *tx) (None, error) {
	now, under := t.restoring()
	if !under || now.Backup != c.Backup {
		if last, _ := load[Restore](t.reader, meta, keyRestore); !under && last.Backup == c.Backup {
			return None{}, nil
		}
		return None{}, ErrRestoreOver.with("of backup %s", c.Backup)
	}
	if have := contentHash(func(b bucket) sum { return *t.sums[b] }); !bytes.Equal(have, now.Sum) {
		return None{}, ErrRestoreStep.with("%d of %d records have come, and add up to %x, not to %x", now.Done, now.Records, have, now.Sum)
	}
	t.del(meta, keyRestoring)
	t.save(meta, keyRestore, Restore{Number: t.index, At: t.now, Backup: c.Backup})
	return None{}, nil
}
