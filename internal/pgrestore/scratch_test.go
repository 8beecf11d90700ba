package pgrestore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// TestScratchIsMadeWhereItCanBe: TMPDIR may have come from another user's session.
func TestScratchIsMadeWhereItCanBe(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	r := &run{place: &place{owner: owner{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), self: true}}}
	if err := r.makeScratch(); err != nil {
		t.Fatal(failure.HintOf(err), err)
	}
	if got := filepath.Dir(r.scratch); got != "/tmp" {
		t.Errorf("made in %s", got)
	}
	if err := (marker{Scratch: r.scratch}).sweep(r.place.owner); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.scratch); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", r.scratch, err)
	}
}

func TestAFolderThatOthersCannotEnterIsNotOpen(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "open")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if open(filepath.Join(dir, "in")) { // the folder above it has mode 0700
		t.Error("a folder in a closed one is taken for open")
	}
	if !open("/tmp") {
		t.Error("the folder for temporary files is taken for closed")
	}
}
