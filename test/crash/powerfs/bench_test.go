package powerfs_test

import (
	"os"
	"testing"
)

// BenchmarkRound is a machine that starts, does a little, and loses its power.
func BenchmarkRound(b *testing.B) {
	m := newMachine(b)
	for b.Loop() {
		m.boot(int64(b.N))
		must(b, write(m.at("tmp"), repeat("x", 50000)), fsync(m.at("tmp")), os.Rename(m.at("tmp"), m.at("file")), fsync(m.mnt))
		_, err := m.fs.Cut()
		must(b, err)
		m.unmount()
	}
}

// BenchmarkWrite is the writing of a large blob, synced at the end.
func BenchmarkWrite(b *testing.B) {
	m := newMachine(b)
	m.boot(1)
	blob := make([]byte, 64<<20)
	b.SetBytes(int64(len(blob)))
	for b.Loop() {
		must(b, os.WriteFile(m.at("blob"), blob, 0o600), fsync(m.at("blob")))
	}
	m.unmount()
}

// BenchmarkRead is the reading of it, most of it from the pages of the kernel.
func BenchmarkRead(b *testing.B) {
	m := newMachine(b)
	m.boot(1)
	must(b, os.WriteFile(m.at("blob"), make([]byte, 64<<20), 0o600))
	b.SetBytes(64 << 20)
	for b.Loop() {
		_, err := os.ReadFile(m.at("blob"))
		must(b, err)
	}
	m.unmount()
}
