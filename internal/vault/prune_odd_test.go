package vault_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// TestPruneBusy has a session at work all the time: everything but the switch is done, and with patience the switch too.
func TestPruneBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v, other := opened(t, space), opened(t, space)
		drop, err := keep(t.Context(), v, seeds(0, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keep(t.Context(), v, seeds(10, 20), "h"); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Forget(t.Context(), []object.ID{drop}, vault.ForgetOptions{}); err != nil {
			t.Fatal(err)
		}
		s, err := other.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o := atOnce
		o.Wait = vault.Waiting{For: time.Minute}
		packs, _ := count(t, space, blob.Pack)
		report, err := v.Prune(t.Context(), o)
		if !errors.Is(err, failure.Conflict) || report.Hidden.Packs > 0 || report.Written.Packs == 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if n, _ := count(t, space, blob.Pack); n != packs+report.Written.Packs {
			t.Errorf("%d packs, want %d", n, packs+report.Written.Packs)
		}
		// The session refers to what was found unneeded, and ends: the prune leaves it alone, though it is going on.
		done := make(chan error)
		go func() {
			time.Sleep(10 * time.Minute)
			_, err := keepWith(t.Context(), s, seeds(5, 1), "other")
			done <- errors.Join(err, s.Close(t.Context()))
		}()
		o.Wait = vault.Waiting{For: time.Minute, Drain: time.Hour}
		report, err = v.Prune(t.Context(), o)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err != nil || report.Hidden.Packs == 0 {
			t.Errorf("%+v, %v", report, err)
		}
		sound(t, space)
		accepted(t, export(t, space), "--read-data")
	})
}

// TestPruneOrphans leaves packs that no index lists: they wait from when nobody was at work, and then go.
func TestPruneOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v, dead := opened(t, space), opened(t, space)
		if _, err := keep(t.Context(), v, seeds(0, 5), "h"); err != nil {
			t.Fatal(err)
		}
		s, err := dead.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SaveStream(t.Context(), bytes.NewReader(noise(7777, 2<<20))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		killed := space.Clone() // the writer dies here
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		v = opened(t, killed)
		plan, err := v.PlanPrune(t.Context(), vault.PruneOptions{})
		if err != nil || plan.Unlisted.Packs == 0 || plan.Due.Packs > 0 || plan.Waiting != plan.Unlisted {
			t.Fatalf("%+v, %v", plan, err)
		}
		// His lock still counts: he may be alive.
		if report, err := v.Prune(t.Context(), vault.PruneOptions{}); err != nil || report.Hidden.Packs > 0 {
			t.Errorf("%+v, %v", report, err)
		}
		time.Sleep(time.Hour)
		if report, err := v.Prune(t.Context(), vault.PruneOptions{}); err != nil || report.Hidden.Packs != plan.Unlisted.Packs || report.Removed.Packs > 0 {
			t.Errorf("%+v, %v", report, err)
		}
		time.Sleep(30 * time.Minute)
		if report, err := v.Prune(t.Context(), vault.PruneOptions{}); err != nil || report.Removed.Packs > 0 || report.Waiting != plan.Unlisted {
			t.Errorf("%+v, %v", report, err)
		}
		time.Sleep(time.Hour)
		if report, err := v.Prune(t.Context(), vault.PruneOptions{}); err != nil || report.Removed != plan.Unlisted {
			t.Errorf("%+v, %v", report, err)
		}
		sound(t, killed)
	})
}

// TestPruneRescues has somebody break the promise of the locks: his lock is removed by force, a prune takes what he leans
func TestPruneRescues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v, other := opened(t, space), opened(t, space)
		drop, err := keep(t.Context(), v, seeds(0, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keep(t.Context(), v, seeds(100, 3), "h"); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Forget(t.Context(), []object.ID{drop}, vault.ForgetOptions{}); err != nil {
			t.Fatal(err)
		}
		s, err := other.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.RemoveAllLocks(t.Context()); err != nil {
			t.Fatal(err)
		}
		if report, err := v.Prune(t.Context(), vault.PruneOptions{MaxUnused: "0"}); err != nil || report.Hidden.Packs == 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		late, err := keepWith(t.Context(), s, seeds(0, 20), "late")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := v.PlanPrune(t.Context(), vault.PruneOptions{}); !errors.Is(err, failure.Conflict) {
			t.Errorf("the plan does not say that something is missing: %v", err)
		}
		report, err := v.Prune(t.Context(), vault.PruneOptions{MaxUnused: "0"})
		if err != nil || report.Relisted == 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if err := holdsAll(t.Context(), opened(t, space), late, seeds(0, 20)); err != nil {
			t.Error(err)
		}
		sound(t, space)
		accepted(t, export(t, space), "--read-data")
	})
}

// TestPruneRefuses holds that nothing is removed while what is needed is not known, or not there.
func TestPruneRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, whole := create(t)
		v := opened(t, whole)
		drop, err := keep(t.Context(), v, seeds(0, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		stays, err := keep(t.Context(), v, seeds(15, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Forget(t.Context(), []object.ID{drop}, vault.ForgetOptions{}); err != nil {
			t.Fatal(err)
		}
		damage := map[string]func(*memory.Store) failure.Kind{
			"a snapshot is damaged": func(s *memory.Store) failure.Kind {
				s.Corrupt(blob.Handle{Type: blob.Snapshot, Name: stays.String()}, func(b []byte) []byte { b[40] ^= 1; return b })
				return failure.Corrupt
			},
			"packs are cut": func(s *memory.Store) failure.Kind {
				each(t, s, blob.Pack, func(h blob.Handle) { s.Corrupt(h, func(b []byte) []byte { return b[:len(b)-1] }) })
				return failure.Corrupt
			},
			"packs are gone": func(s *memory.Store) failure.Kind {
				each(t, s, blob.Pack, func(h blob.Handle) {
					if err := s.Remove(t.Context(), h); err != nil {
						t.Fatal(err)
					}
				})
				return failure.NotFound
			},
			"an index is damaged": func(s *memory.Store) failure.Kind {
				each(t, s, blob.Index, func(h blob.Handle) { s.Corrupt(h, func(b []byte) []byte { b[40] ^= 1; return b }) })
				return failure.Corrupt
			},
			"indexes are gone, and so are the packs": func(s *memory.Store) failure.Kind {
				for _, typ := range []blob.Type{blob.Index, blob.Pack} {
					each(t, s, typ, func(h blob.Handle) {
						if err := s.Remove(t.Context(), h); err != nil {
							t.Fatal(err)
						}
					})
				}
				return failure.NotFound
			},
		}
		for what, do := range damage {
			s := whole.Clone()
			kind := do(s)
			packs, bytes := count(t, s, blob.Pack)
			indexes, _ := count(t, s, blob.Index)
			if report, err := opened(t, s).Prune(t.Context(), atOnce); !errors.Is(err, kind) {
				t.Errorf("%s: %+v, %v", what, report, err)
			}
			nowPacks, nowBytes := count(t, s, blob.Pack)
			nowIndexes, _ := count(t, s, blob.Index)
			if nowPacks < packs || nowBytes < bytes || nowIndexes < indexes {
				t.Errorf("%s, and something was removed", what)
			}
			if locks, err := opened(t, s).Locks(t.Context()); err != nil || len(locks) > 0 {
				t.Errorf("%s: %v, %v", what, locks, err)
			}
		}
	})
}

func each(t *testing.T, s *memory.Store, typ blob.Type, do func(blob.Handle)) {
	t.Helper()
	if err := s.List(t.Context(), typ, func(i blob.Info) error { do(i.Handle); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestPruneSplitIndex has index files that list parts of packs: replacing one of them must not lose the other's part.
func TestPruneSplitIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v := opened(t, space)
		var drop []object.ID
		want := map[object.ID]files{}
		for i := range uint64(6) {
			f := seeds(i*10, 12)
			id, err := keep(t.Context(), v, f, "h")
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				want[id] = f
			} else {
				drop = append(drop, id)
			}
		}
		if err := v.SplitIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		v = opened(t, space)
		if _, err := v.Forget(t.Context(), drop, vault.ForgetOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, o := range []vault.PruneOptions{{Grace: -1, MaxUnused: "unlimited", RepackCacheableOnly: true}, atOnce} {
			if report, err := v.Prune(t.Context(), o); err != nil || report.Removed.Packs == 0 {
				t.Errorf("%+v, %v", report, err)
			}
			sound(t, space)
			if err := originals(t.Context(), opened(t, space), want); err != nil {
				t.Error(err)
			}
		}
		accepted(t, export(t, space), "--read-data")
	})
}

// TestPruneDenied has a store that removes nothing: a prune says so, and leaves the vault whole.
func TestPruneDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v := opened(t, space)
		drop, err := keep(t.Context(), v, seeds(0, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keep(t.Context(), v, seeds(10, 20), "h"); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Forget(t.Context(), []object.ID{drop}, vault.ForgetOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, only := range []blob.Type{0, blob.Index, blob.Pack} {
			left := space.Clone()
			packs, _ := count(t, left, blob.Pack)
			report, err := opened(t, stubborn{left, only}).Prune(t.Context(), atOnce)
			if !errors.Is(err, failure.Denied) {
				t.Errorf("%s cannot be removed: %+v, %v", only, report, err)
			}
			if n, _ := count(t, left, blob.Pack); n < packs {
				t.Errorf("%s cannot be removed, and %d of %d packs are left", only, n, packs)
			}
			sound(t, left)
		}
	})
}

// stubborn removes nothing of one type; of no type, it says so.
type stubborn struct {
	*memory.Store
	only blob.Type
}

func (s stubborn) Facts() blob.Facts {
	f := s.Store.Facts()
	f.AppendOnly = s.only == 0
	return f
}

func (s stubborn) Remove(ctx context.Context, h blob.Handle) error {
	if h.Type == s.only {
		return failure.New(failure.Denied, "remove", h.String(), "no")
	}
	return s.Store.Remove(ctx, h)
}
