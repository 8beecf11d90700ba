//go:build linux

package archiver_test

import (
	"os"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
)

const manyFiles = 50_000

// BenchmarkFirst backs 50,000 small files up into an empty vault.
func BenchmarkFirst(b *testing.B) {
	src := b.TempDir()
	archivertest.Small(b, src, manyFiles, 1)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		repo, v := newRepo(b)
		b.StartTimer()
		r := backup(b, v, archiver.Options{Paths: []string{src}})
		b.StopTimer()
		b.SetBytes(int64(r.Summary.TotalBytesProcessed))
		if err := os.RemoveAll(repo); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkUnchanged backs the same files up when nothing has changed, with a Vault that has read nothing yet.
func BenchmarkUnchanged(b *testing.B) {
	src := b.TempDir()
	archivertest.Small(b, src, manyFiles, 1)
	repo, v := newRepo(b)
	first := backup(b, v, archiver.Options{Paths: []string{src}})
	b.ReportAllocs()
	for b.Loop() {
		r := backup(b, open(b, repo), archiver.Options{Paths: []string{src}, Parent: first.Snapshot})
		if r.Summary.FilesUnmodified != manyFiles {
			b.Fatalf("%+v", r.Summary)
		}
	}
}
