//go:build linux

package archiver_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
)

// TestOneFileSystem holds that another file system is not gone into, and that its mount point is kept.
func TestOneFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system takes root's rights")
	}
	repo, v := newRepo(t)
	t.Chdir(t.TempDir())
	plant(t, "src", "a", "mount/hidden", "sub/back/hidden")
	mount := func(source, target, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, ""); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	mount("tmpfs", filepath.Join(here, "src/mount"), "tmpfs", 0)
	plant(t, "src/mount", "x", "deep/y", "again/")
	mount(filepath.Join(here, "src/sub"), filepath.Join(here, "src/mount/again"), "", unix.MS_BIND) // the first one, within the other
	if err := os.Symlink("x", "src/mount/link"); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{{"src"}, {"src", "src/mount/deep"}, {"src/mount"}, {"src/mount/again", "src/a"}} {
		theirs := resticBackup(t, repo, "", v, append([]string{"--one-file-system"}, paths...)...)
		ours := backup(t, v, archiver.Options{Paths: paths, OneFileSystem: true}).Snapshot
		sameTrees(t, v, "", *theirs.Tree, *ours.Tree)
		if len(paths) == 1 && paths[0] == "src" {
			want := []string{"/src", "/src/a", "/src/mount", "/src/mount/again", "/src/mount/again/back", "/src/mount/again/back/hidden", "/src/sub", "/src/sub/back", "/src/sub/back/hidden"}
			if diff := cmp.Diff(want, pathsOf(t, v, ours)); diff != "" {
				t.Error(diff)
			}
		}
	}
}
