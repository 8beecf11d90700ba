package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/faulty"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/retry"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// weather is a kind of store to work on.
type weather struct {
	name   string
	rates  faulty.Rates
	honest bool // no fault that a store may not have
	retry  retry.Options
	// succeeds: everything must come to its end, for patience outlasts the faults.
	succeeds bool
}

var weathers = []weather{
	{"rough, and patient", faulty.Rates{Before: 0.1, After: 0.1, Break: 0.2, Delay: 0.2, MaxDelay: 20 * time.Second}, true, retry.Options{}, true},
	{"rough, and soon given up", faulty.Rates{Before: 0.15, After: 0.1, Break: 0.15, Delay: 0.1, MaxDelay: time.Minute}, true, retry.Options{Attempts: 2}, false},
	{"slow beyond the life of locks", faulty.Rates{After: 0.05, Delay: 0.3, MaxDelay: 15 * time.Minute}, true, retry.Options{Attempts: 3}, false},
	{"a store that lies", faulty.Rates{Before: 0.02, After: 0.02, Truncate: 0.02, Lie: 0.03, Flip: 0.02}, false, retry.Options{Attempts: 3}, false},
}

// sailors are the points that were committed, by whoever is told so.
type sailors struct {
	mu        sync.Mutex
	committed map[object.ID]map[string][]byte
	failed    int
	faults    map[faulty.Action]int
}

// TestWeather backs up and restores on a store that fails before and after, delays, reorders listings, breaks readers and
// returns short reads at random, from two hosts at once: each backup is committed or says that it was not; what was
// committed is there, whole; what else is there is whole too; and what is read is right or an error. A store that even
// lies must not make a wrong byte pass for a right one.
func TestWeather(t *testing.T) {
	seeds := uint64(6)
	if os.Getenv("LIFEBOAT_LONG") != "" {
		seeds = 400
	}
	_, base := create(t)
	for _, w := range weathers {
		t.Run(w.name, func(t *testing.T) {
			var committed, failed int
			faults := map[faulty.Action]int{}
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) { // locks and pauses go by the clock
					s := &sailors{committed: map[object.ID]map[string][]byte{}, faults: faults}
					s.sail(t, w, seed, base.Clone())
					committed += len(s.committed)
					failed += s.failed
				})
				if t.Failed() {
					t.Fatalf("with seed %d", seed)
				}
			}
			t.Logf("%d backups committed, %d failed; faults: %v", committed, failed, faults)
			if committed == 0 || failed == 0 && !w.succeeds {
				t.Errorf("%d backups are committed and %d fail: the weather is too bad, or none", committed, failed)
			}
			for a, rate := range map[faulty.Action]float64{faulty.Before: w.rates.Before, faulty.After: w.rates.After, faulty.Break: w.rates.Break,
				faulty.Delay: w.rates.Delay, faulty.Truncate: w.rates.Truncate, faulty.Lie: w.rates.Lie, faulty.Flip: w.rates.Flip} {
				if rate > 0 && faults[a] == 0 {
					t.Errorf("%q never happened", a)
				}
			}
		})
	}
}

// open gives one host's way to the store, through the weather.
func (s *sailors) open(w weather, seed uint64, inner blob.Store) (blob.Store, func()) {
	f := faulty.Wrap(inner, faulty.Options{Seed: seed, Reorder: true, Short: true, Rates: w.rates})
	o := w.retry
	o.Random = rand.New(rand.NewPCG(seed, 2)).Float64
	var mu sync.Mutex
	random := o.Random
	o.Random = func() float64 { mu.Lock(); defer mu.Unlock(); return random() }
	return retry.Wrap(f, o), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for a, n := range f.Done() {
			s.faults[a] += n
		}
	}
}

// sail has two hosts back up twice each, restores through the weather, and looks at what is left when it is calm.
func (s *sailors) sail(t *testing.T, w weather, seed uint64, inner *memory.Store) {
	var hosts sync.WaitGroup
	for host := range uint64(2) {
		hosts.Go(func() {
			store, done := s.open(w, seed*10+host, inner)
			defer done()
			for round := range uint64(2) {
				files := map[string][]byte{
					"same":                         noise(seed, 300<<10),
					fmt.Sprint("by host ", host):   noise(seed+100*host+1, 200<<10),
					fmt.Sprint("by round ", round): prose(seed+1000*round+2, 700<<10),
				}
				id, err := s.backup(t.Context(), store, fmt.Sprint("host", host), files)
				s.mu.Lock()
				switch {
				case err == nil:
					s.committed[id] = files
				default:
					s.failed++
					s.classified(t, w, err)
				}
				s.mu.Unlock()
			}
		})
	}
	hosts.Wait()

	store, done := s.open(w, seed*10+5, inner)
	defer done()
	if err := s.restore(t, store); err != nil {
		s.classified(t, w, err)
	}

	v, err := vault.Open(t.Context(), inner, password, small)
	if err != nil {
		t.Fatal(err)
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, NoLock: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if report.Snapshots < len(s.committed) {
		t.Errorf("%d points are there, %d were committed", report.Snapshots, len(s.committed))
	}
	if err := s.restore(t, inner); err != nil {
		t.Errorf("in calm weather: %v", err)
	}
}

// classified holds that what fails says why, in a way that fits the weather.
func (s *sailors) classified(t *testing.T, w weather, err error) {
	kind := failure.KindOf(err)
	honest := kind == failure.Unavailable || kind == failure.Indeterminate || kind == failure.Conflict // a lock that was not refreshed in time
	switch {
	case w.succeeds:
		t.Errorf("fails in spite of patience: %v", err)
	case w.honest && !honest, kind == failure.Internal:
		t.Errorf("fails as %s: %v", kind, err)
	}
}

// backup makes one point.
func (s *sailors) backup(ctx context.Context, store blob.Store, host string, files map[string][]byte) (id object.ID, err error) {
	o := small
	o.Identity = vault.Identity{Hostname: host, PID: 1}
	v, err := vault.Open(ctx, store, password, o)
	if err != nil {
		return id, err
	}
	session, err := v.NewSession(ctx)
	if err != nil {
		return id, err
	}
	defer session.Close(ctx) // a lock that cannot be removed is for others to wait for
	var root tree.Tree
	for name, data := range files {
		c, err := session.SaveStream(ctx, bytes.NewReader(data))
		if err != nil {
			return id, err
		}
		root.Nodes = append(root.Nodes, node(name, c))
	}
	top, err := session.SaveTree(ctx, &root)
	if err != nil {
		return id, err
	}
	return session.Commit(ctx, &snapshot.Snapshot{Tree: &top, Paths: []string{"/"}})
}

// restore reads every committed point. An error ends a point; a wrong byte, or a point that is not there, fails the test.
func (s *sailors) restore(t *testing.T, store blob.Store) error {
	v, err := vault.Open(t.Context(), store, password, small)
	if err != nil {
		return err
	}
	var failures []error
	for id, files := range s.committed {
		sn, err := v.Snapshot(t.Context(), id)
		if errors.Is(err, failure.NotFound) {
			t.Errorf("a committed point is gone: %v", err)
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		for name, want := range files {
			got, err := readFile(t.Context(), v, *sn.Tree, name)
			if err != nil {
				failures = append(failures, err)
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s of %s: other bytes, and no error", name, id.Short())
			}
		}
	}
	if len(failures) > 0 {
		return failures[0]
	}
	return nil
}

// readFile reads a file of the root.
func readFile(ctx context.Context, v *vault.Vault, root object.ID, name string) ([]byte, error) {
	n, err := v.Find(ctx, root, "/"+name)
	if err != nil {
		return nil, err
	}
	f, err := v.OpenFile(ctx, n.Content)
	if err != nil {
		return nil, err
	}
	var got bytes.Buffer
	_, err = f.CopyTo(ctx, &got)
	return got.Bytes(), err
}
