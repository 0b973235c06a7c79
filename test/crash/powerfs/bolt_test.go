package powerfs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	boltKeys  = 200 // few, so that pages are freed and used again
	boltCuts  = 60
	boltFile  = "state.db"
	boltAwait = "ack "
)

// boltChanges returns what transaction i writes. Values have all sizes up to several pages, an empty one is a
// deletion.
func boltChanges(i uint64) map[string][]byte {
	changes := map[string][]byte{}
	for n := range 1 + i%5 {
		key := fmt.Sprintf("key%03d", (i*7+n*31)%boltKeys)
		changes[key] = bytes.Repeat([]byte{byte(i), byte(i >> 8), byte(n)}, int(i*131+n*977)%3000)
	}
	return changes
}

// boltWorker commits transactions without end, and prints the number of each that was committed.
func boltWorker(path string, noSync bool) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoSync: noSync, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	last, err := boltLast(db)
	if err != nil {
		return err
	}
	fmt.Println("open", last)
	var readers sync.WaitGroup
	readers.Go(func() { // until the process is killed: reads pages through the map while they change
		for {
			if err := db.View(boltCoherent); err != nil {
				fmt.Println("incoherent", err)
			}
		}
	})
	for i := last + 1; ; i++ {
		if err := db.Update(func(tx *bolt.Tx) error { return boltApply(tx, i) }); err != nil {
			return err
		}
		fmt.Println(boltAwait + strconv.FormatUint(i, 10))
	}
}

func boltApply(tx *bolt.Tx, i uint64) error {
	b, err := tx.CreateBucketIfNotExists([]byte("data"))
	if err != nil {
		return err
	}
	for key, value := range boltChanges(i) {
		if len(value) == 0 {
			err = b.Delete([]byte(key))
		} else {
			err = b.Put([]byte(key), value)
		}
		if err != nil {
			return err
		}
	}
	return b.Put([]byte("last"), binary.BigEndian.AppendUint64(nil, i))
}

func boltLast(db *bolt.DB) (last uint64, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		last = lastOf(tx)
		return nil
	})
	return last, err
}

func lastOf(tx *bolt.Tx) uint64 {
	b := tx.Bucket([]byte("data"))
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b.Get([]byte("last")))
}

// boltCoherent says whether a transaction sees what the last one wrote.
func boltCoherent(tx *bolt.Tx) error {
	last := lastOf(tx)
	if last == 0 {
		return nil
	}
	for key, want := range boltChanges(last) {
		if got := tx.Bucket([]byte("data")).Get([]byte(key)); !bytes.Equal(got, want) {
			return fmt.Errorf("transaction %d, %s: %d bytes, want %d of the right kind", last, key, len(got), len(want))
		}
	}
	return nil
}

// boltVerifyWorker looks at a database on an ordinary file system, and prints which transaction is its last,
// then what is wrong with it. A page that makes no sense may well kill it.
func boltVerifyWorker(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		last := lastOf(tx)
		fmt.Println(last)
		var wrong error
		for err := range tx.Check() {
			wrong = errors.Join(wrong, err)
		}
		return errors.Join(wrong, boltCompare(tx, last))
	})
	if err != nil {
		return err
	}
	fmt.Println("good")
	return db.Close()
}

// boltVerify says what is wrong with the database that a disk holds, and which transaction is its last.
func boltVerify(m *machine, acknowledged uint64) (last uint64, err error) {
	w := startWorker(m.t, "bolt-verify", filepath.Join(m.disk, boltFile))
	first, second := w.line(), w.line()
	w.kill()
	last, err = strconv.ParseUint(first, 10, 64)
	switch {
	case err != nil || second != "good":
		return 0, fmt.Errorf("%s %s %.300s", first, second, w.err)
	case last < acknowledged:
		return 0, fmt.Errorf("transaction %d was committed, %d is the last", acknowledged, last)
	}
	return last, nil
}

// boltCompare wants the database to be exactly what the transactions up to the last one make.
func boltCompare(tx *bolt.Tx, last uint64) error {
	want := map[string][]byte{}
	for i := uint64(1); i <= last; i++ {
		maps.Copy(want, boltChanges(i))
	}
	for key, value := range want {
		if got := tx.Bucket([]byte("data")).Get([]byte(key)); !bytes.Equal(got, value) {
			return fmt.Errorf("%s has %d bytes, want %d of the right kind", key, len(got), len(value))
		}
	}
	return nil
}

// boltRound boots a machine, lets a database work on it, cuts the power at a random moment, and returns the
// last transaction that was acknowledged.
func boltRound(t *testing.T, m *machine, program string, seed int64, acknowledged uint64) uint64 {
	t.Helper()
	// a seed has to bring a failure back
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	m.boot(seed)
	moment := m.fs.FailAfter(1 + rng.Uint64N(600)) // anywhere, the creation of the file included
	w := startWorker(t, program, m.at(boltFile))
	lines := make(chan string)
	go func() { // ends with the process, which kill waits for
		defer close(lines)
		for line := w.line(); line != ""; line = w.line() {
			lines <- line
		}
	}()
	hurry := rng.IntN(100) // sometimes cut after so many transactions instead, whatever is going on then
	for done := false; !done; {
		select {
		case line, ok := <-lines:
			acknowledged = boltLine(t, line, acknowledged)
			hurry--
			done = !ok || hurry == 0
		case <-moment:
			done = true
		}
	}
	_, err := m.fs.Cut()
	must(t, err)
	_ = w.cmd.Process.Kill() // it may have ended by itself
	for line := range lines {
		acknowledged = boltLine(t, line, acknowledged)
	}
	_ = w.cmd.Wait() // killed, or failed because the power was cut
	m.unmount()
	return acknowledged
}

// boltLine reads what the worker printed. A line printed before the cut may be read after it.
func boltLine(t *testing.T, line string, acknowledged uint64) uint64 {
	t.Helper()
	if number, ok := strings.CutPrefix(line, boltAwait); ok {
		n, err := strconv.ParseUint(number, 10, 64)
		must(t, err)
		return n
	}
	if strings.HasPrefix(line, "incoherent") {
		t.Error(line)
	}
	return acknowledged
}

func TestBoltSurvivesEveryCut(t *testing.T) {
	m := newMachine(t)
	acknowledged := uint64(0)
	for seed := range int64(boltCuts) {
		if seed%20 == 0 { // a new database, whose creation may be cut
			must(t, os.RemoveAll(filepath.Join(m.disk, boltFile)))
			acknowledged = 0
			m.createBolt()
		}
		acknowledged = boltRound(t, m, "bolt", seed, acknowledged)
		last, err := boltVerify(m, acknowledged)
		if err != nil {
			t.Fatalf("cut %d: %v", seed, err)
		}
		acknowledged = last
	}
	t.Logf("%d cuts, the last database has %d transactions", boltCuts, acknowledged)
}

// createBolt makes the name of the database durable, which is the duty of whoever opens one: bbolt does not
// sync the directory.
func (m *machine) createBolt() {
	m.t.Helper()
	m.boot(0)
	must(m.t, write(m.at(boltFile), ""), fsync(m.mnt))
	m.unmount()
}

// TestBoltWithoutSyncIsCaught shows that the test above can fail.
func TestBoltWithoutSyncIsCaught(t *testing.T) {
	caught := 0
	for seed := range int64(10) {
		m := newMachine(t)
		m.createBolt()
		acknowledged := boltRound(t, m, "bolt-nosync", seed, 0)
		if _, err := boltVerify(m, acknowledged); err != nil {
			caught++
		}
	}
	if caught == 0 {
		t.Error("a database that never syncs lost nothing in 10 cuts")
	}
	t.Logf("%d of 10 databases were damaged", caught)
}
