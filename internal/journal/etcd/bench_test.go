package etcd

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

func BenchmarkOpenCold(b *testing.B) {
	root := b.TempDir()
	size := int64(0)
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(root, fmt.Sprint(i))
		s := openFolder(b, dir, FolderOptions{})
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		size = folderSize(b, dir)
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(size)/1e6, "MB-on-disk")
}

func BenchmarkOpenWarm(b *testing.B) {
	dir := b.TempDir()
	if err := openFolder(b, dir, FolderOptions{}).Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := openFolder(b, dir, FolderOptions{})
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkAttach(b *testing.B) {
	dir := b.TempDir()
	openFolder(b, dir, FolderOptions{})
	for b.Loop() {
		if err := openFolder(b, dir, FolderOptions{}).Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is one fenced transaction at a time: a compare and three 1 KiB records.
func BenchmarkCommit(b *testing.B) {
	for _, way := range []string{"in process", "over the socket"} {
		b.Run(way, func(b *testing.B) {
			dir := b.TempDir()
			s := openFolder(b, dir, FolderOptions{})
			if way == "over the socket" {
				s = openFolder(b, dir, FolderOptions{})
			}
			value := make([]byte, 1024)
			mod := int64(0)
			for i := 0; b.Loop(); i++ {
				rev, ok, err := s.Commit(b.Context(), journal.Txn{
					If: []journal.Cond{{Key: "h", Mod: mod}},
					Then: []journal.Op{
						{Key: "h", Value: value},
						{Key: fmt.Sprintf("j/%09d", i), Value: value},
						{Key: "idx", Value: value},
					},
				})
				if err != nil || !ok {
					b.Fatalf("ok %v, error %v", ok, err)
				}
				mod = rev
			}
		})
	}
}

// folderSize is what a folder takes on disk.
func folderSize(tb testing.TB, dir string) (total int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return total
}
