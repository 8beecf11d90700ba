//go:build linux

package archiver_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// TestParentMakesNoDifference changes files in every way at random, and holds that a backup with a parent makes the tree
// that one without makes.
func TestParentMakesNoDifference(t *testing.T) {
	rounds := 25
	if os.Getenv("LIFEBOAT_LONG") != "" {
		rounds = 300
	}
	_, v := newRepo(t)
	t.Chdir(t.TempDir())
	const src = "src"
	plant(t, src, "0/0", "0/1/2", "1/0", "2", "3/")
	r := rand.New(rand.NewPCG(11, 12))
	name := func() string { // few names, so that they meet
		path := src
		for range 1 + r.IntN(3) {
			path = filepath.Join(path, fmt.Sprint(r.IntN(5)))
		}
		return path
	}
	// What cannot be done, for something else is there, is not done.
	changes := []func() error{
		func() error { return os.MkdirAll(name(), 0o755) },
		func() error { return os.WriteFile(name(), []byte(fmt.Sprint(r.IntN(100))), 0o644) },
		func() error { return os.WriteFile(name(), []byte(fmt.Sprint(r.IntN(100))), 0o644) },
		func() error { return os.RemoveAll(name()) },
		func() error { return os.Remove(name()) },
		func() error { return os.Rename(name(), name()) },
		func() error { return os.Symlink(fmt.Sprint(r.IntN(3)), name()) },
		func() error { return os.Link(name(), name()) },
		func() error { return os.Chmod(name(), os.FileMode(0o600+r.IntN(0o100))) },
		func() error { return os.Chtimes(name(), time.Unix(1e9, 0), time.Unix(1e9, r.Int64N(3))) },
	}
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	run := func(parent *snapshot.Snapshot) *archiver.Result {
		t.Helper()
		r, err := archiver.Run(t.Context(), s, archiver.Options{Paths: []string{src}, Parent: parent})
		if err != nil || r.Errors > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	parent := run(nil).Snapshot
	done, unchanged := 0, uint64(0)
	for round := range rounds {
		for range 1 + r.IntN(10) {
			if changes[r.IntN(len(changes))]() == nil {
				done++
			}
		}
		if err := os.MkdirAll(src+"/0", 0o755); err != nil { // it may all be gone
			t.Fatal(err)
		}
		parent.Summary = nil // or else everything is read
		with, without := run(parent), run(nil)
		sameTrees(t, v, fmt.Sprintf("round %d: ", round), *without.Snapshot.Tree, *with.Snapshot.Tree)
		if t.Failed() {
			break
		}
		unchanged += with.Summary.FilesUnmodified
		parent = with.Snapshot
	}
	if done < rounds || unchanged == 0 {
		t.Errorf("%d changes were made, %d files were taken from parents: that says little", done, unchanged)
	}
}
