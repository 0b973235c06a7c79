// Package disk says what a disk may hold after its power was cut: which of the changes that nobody synced
// are there, and how much of each.
//
// It is the model below two tools: crashfs, a double of the file interface of the product's packages, and
// powerfs, a file system that whole processes run on. It knows neither; it does no I/O, reads no clock, and
// the same seed gives the same disk. Start reading at Fate, which throws the dice over content, then at
// Tree, which does so over names.
//
// The model is harsher than any file system in use and never kinder than POSIX:
//   - content is on the disk after an fsync of the file; before, each sector is old, new or torn, or zeros
//     where the file may have got new blocks;
//   - a name is on the disk after an fsync of its directory; before, changes of different names may arrive in
//     any order, those of the same name in the order in which they were made;
//   - a rename is one step, also between two directories: both of its names have changed, or neither;
//   - an fsync of a file says nothing about its name, an fsync of a directory nothing about its own name in
//     its parent.
package disk

import (
	"bytes"
	"math/rand/v2"
)

// SectorSize is the number of bytes that a disk is taken to write at once, unless it tears them.
const SectorSize = 512

// Policy is what becomes of changes that nobody synced.
type Policy int

const (
	// Arbitrary leaves each change to the seed.
	Arbitrary Policy = iota
	// LoseAll leaves exactly what was synced.
	LoseAll
	// KeepAll leaves everything, as if the power had been cut just after the disk had caught up.
	KeepAll
)

// Fate decides for one power cut. It is not safe for concurrent use.
type Fate struct {
	policy Policy
	rng    *rand.Rand
	odds   float64
}

// NewFate returns the fate that the policy and the seed give.
func NewFate(policy Policy, seed int64) *Fate {
	// a seed has to bring a failure back; nothing here is secret
	f := &Fate{policy: policy, rng: rand.New(rand.NewPCG(uint64(seed), 0x9e3779b97f4a7c15))}
	f.draw()
	return f
}

// draw picks the odds that a change is kept. They differ from file to file, and are often all or nothing:
// with even odds for each sector, a file of many sectors would never be found whole or untouched, which
// are the two cases that programs have most to say about.
func (f *Fate) draw() {
	switch f.rng.IntN(4) {
	case 0:
		f.odds = 0
	case 1:
		f.odds = 1
	default:
		f.odds = f.rng.Float64()
	}
}

// keeps says whether one change that nobody synced is on the disk.
func (f *Fate) keeps() bool {
	switch f.policy {
	case LoseAll:
		return false
	case KeepAll:
		return true
	default:
		return f.rng.Float64() < f.odds
	}
}

// File starts a file: it draws its odds, and says whether an un-synced truncation of it is on the disk.
func (f *Fate) File() (truncated bool) {
	f.draw()
	return f.keeps()
}

// Size returns the size of a file that had the size synced at its last sync and has the size seen now. A
// file that grew may have grown in part.
func (f *Fate) Size(synced, seen int64) int64 {
	if f.policy == Arbitrary && seen > synced && f.rng.IntN(3) == 0 {
		return synced + f.rng.Int64N(seen-synced+1)
	}
	if f.keeps() {
		return seen
	}
	return synced
}

// Sector writes into dst what the disk holds in place of a sector that was synced and that programs have
// seen overwritten: one of the two, or a part of each. The three slices have one length, at most SectorSize;
// dst may be either of the others.
func (f *Fate) Sector(dst, synced, seen []byte) {
	if f.policy == Arbitrary && !bytes.Equal(synced, seen) {
		switch f.rng.IntN(16) {
		case 0:
			f.tear(dst, synced, seen)
			return
		case 1:
			f.tear(dst, seen, synced)
			return
		}
	}
	if f.keeps() {
		copy(dst, seen)
		return
	}
	copy(dst, synced)
}

// tear joins the head of one version and the tail of the other.
func (f *Fate) tear(dst, head, tail []byte) {
	at := f.rng.IntN(len(dst) + 1)
	torn := make([]byte, 0, SectorSize)
	torn = append(torn, head[:at]...)
	torn = append(torn, tail[at:]...)
	copy(dst, torn)
}

// Content returns what the disk holds of a file that had the content synced at its last sync and has the
// content seen now. It returns a slice of its own.
//
// Unlike Sector it also leaves zeros in place of what was overwritten, as if the file system had given the
// file new blocks and not filled them.
func (f *Fate) Content(synced, seen []byte) []byte {
	f.draw()
	size := int(f.Size(int64(len(synced)), int64(len(seen))))
	out := make([]byte, size)
	var old, now [SectorSize]byte
	for at := 0; at < size; at += SectorSize {
		end := min(at+SectorSize, size)
		before, after := old[:end-at], now[:end-at]
		part(before, synced, at)
		part(after, seen, at)
		if f.policy == Arbitrary && !bytes.Equal(before, after) && f.rng.IntN(16) == 0 {
			continue
		}
		f.Sector(out[at:end], before, after)
	}
	return out
}

// part fills dst with the bytes of content from the offset on, and with zeros behind its end.
func part(dst, content []byte, at int) {
	n := 0
	if at < len(content) {
		n = copy(dst, content[at:])
	}
	clear(dst[n:])
}
