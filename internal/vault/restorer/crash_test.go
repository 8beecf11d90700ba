//go:build linux

package restorer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// long reports whether suites run at full length.
func long() bool { return os.Getenv("LIFEBOAT_LONG") != "" }

// TestKilled kills restores at random moments. The next run, with whatever policy, completes what the last one left: no
// file that is half written is taken for one that is right.
func TestKilled(t *testing.T) {
	src := t.TempDir()
	for i := range 400 {
		write(t, filepath.Join(src, fmt.Sprintf("d%d", i%20), fmt.Sprintf("f%d", i)), noise(uint64(i), 3000+i))
	}
	for i := range 6 {
		write(t, filepath.Join(src, fmt.Sprintf("large%d", i)), noise(uint64(i+1000), 4<<20))
	}
	must(t, os.Link(filepath.Join(src, "large1"), filepath.Join(src, "d1", "another name")))
	repo, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	want := look(t, src)
	began := time.Now()
	restore(t, v, root, restorer.Options{Target: filepath.Join(t.TempDir(), "whole")})
	whole := time.Since(began)
	rounds, killed := 12, 0
	if long() {
		rounds = 150
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range rounds {
		policies := []restorer.Overwrite{restorer.Always, restorer.IfChanged, restorer.IfNewer, restorer.Never}
		policy := policies[i%len(policies)]
		target := filepath.Join(t.TempDir(), "target")
		if i%3 == 1 && policy != restorer.Never { // something older is there
			for n := range 400 {
				path := filepath.Join(target, fmt.Sprintf("d%d", n%20), fmt.Sprintf("f%d", n))
				write(t, path, noise(uint64(n+n%2), 3000+n))
				must(t, os.Chtimes(path, time.Unix(5, 0), time.Unix(5, 0)))
			}
			write(t, filepath.Join(target, "large2"), append(noise(1, 1<<20), noise(1002, 4<<20)[1<<20:]...))
			must(t, os.Chtimes(filepath.Join(target, "large2"), time.Unix(5, 0), time.Unix(5, 0)))
		}
		for range 1 + i%2 {
			began := time.Now()
			cmd, wait := start(t, job{Repo: repo, Target: target, Root: root, Overwrite: policy}, nil)
			timer := time.AfterFunc(time.Duration(r.Int64N(int64(whole))), func() { _ = cmd.Process.Kill() })
			if _, err := wait(); err != nil {
				killed++
			} else {
				whole = time.Since(began) // the machine may be less busy than it was
			}
			timer.Stop()
		}
		restore(t, v, root, restorer.Options{Target: target, Overwrite: policy})
		sameLook(t, want, look(t, target))
		if t.Failed() {
			t.Fatalf("round %d, %s", i, policy)
		}
	}
	if killed < rounds/4 {
		t.Errorf("only %d of the restores were killed in time: the test says nothing", killed)
	}
}
