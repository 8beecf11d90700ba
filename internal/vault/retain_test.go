package vault_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

const aDay = 24 * time.Hour

// TestRetain renews what is needed on a store that retains, over and over, while what is not needed any more ends, is
// forgotten and pruned: nothing that is needed is ever without retention, and nothing else is kept for ever.
func TestRetain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		store := lockingStore(space, 0)
		v := opened(t, store)
		want := map[object.ID]files{}
		var list []object.ID
		for i := range uint64(12) {
			f := seeds(i*10, 10)
			id, err := keep(t.Context(), v, f, "h")
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, id)
			want[id] = f
		}
		if _, err := v.Prune(t.Context(), atOnce); err != nil { // makes one index file of twelve
			t.Fatal(err)
		}
		store.keep = 30 * aDay
		o := vault.RetainOptions{For: 30 * aDay, Threshold: 15 * aDay}
		if all, err := v.Retain(t.Context(), o); err != nil || all.Renewed != all.Needed || all.Needed < 30 {
			t.Errorf("everything is due: %+v, %v", all, err)
		}
		first, err := v.Retain(t.Context(), o)
		if err != nil || first.Renewed != 0 || first.Replaced != 0 || first.Needed < 10 || time.Until(first.Next).Round(aDay) != 15*aDay {
			t.Errorf("nothing is due: %+v, %v", first, err)
		}
		asks := store.asks
		if again, err := v.Retain(t.Context(), o); err != nil || store.asks-asks != again.Needed {
			t.Errorf("%d questions for %d objects, %v", store.asks-asks, again.Needed, err)
		}
		// The first snapshot is not wanted any more: it is left to end.
		time.Sleep(20 * aDay)
		o.Except = list[:1]
		o.DryRun = true
		dry, err := v.Retain(t.Context(), o)
		if err != nil || dry.Renewed == 0 || store.least(t, v, list[1]) > 11*aDay {
			t.Errorf("%+v, %v", dry, err)
		}
		o.DryRun = false
		second, err := v.Retain(t.Context(), o)
		if err != nil || second.Renewed != dry.Renewed || second.Replaced == 0 || second.Unneeded.Packs == 0 {
			t.Errorf("%+v, %v; a rehearsal said %+v", second, err, dry)
		}
		for _, id := range list[1:] {
			if left := store.least(t, v, id); left < 29*aDay {
				t.Errorf("something that %s needs is retained for %s only", id.Short(), left)
			}
		}
		if got, err := v.Forget(t.Context(), list[:2], vault.ForgetOptions{}); err != nil || !errors.Is(got[0].Err, failure.Denied) || time.Until(got[0].NotBefore).Round(aDay) != 10*aDay {
			t.Errorf("%+v, %v", got, err)
		}
		time.Sleep(11 * aDay)
		got, err := v.Forget(t.Context(), list[:2], vault.ForgetOptions{})
		if err != nil || got[0].Err != nil || !errors.Is(got[1].Err, failure.Denied) {
			t.Fatalf("%+v, %v", got, err)
		}
		delete(want, list[0])
		report, err := v.Prune(t.Context(), atOnce)
		if err != nil || report.Removed.Packs < second.Unneeded.Packs {
			t.Errorf("%+v, %v", report, err)
		}
		for id, f := range want {
			if err := holdsAll(t.Context(), opened(t, store), id, f); err != nil {
				t.Error(err)
			}
		}
		sound(t, space)
		accepted(t, export(t, space), "--read-data")
		// For a year: renewed every two weeks, pruned, and nothing is ever less protected than the threshold less the step.
		for range 26 {
			time.Sleep(14 * aDay)
			if _, err := v.Retain(t.Context(), vault.RetainOptions{For: 30 * aDay, Threshold: 15 * aDay}); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Prune(t.Context(), atOnce); err != nil {
				t.Fatal(err)
			}
			for _, id := range list[1:] {
				if left := store.least(t, v, id); left < 15*aDay {
					t.Fatalf("something that %s needs is retained for %s only", id.Short(), left)
				}
			}
		}
		if n, _ := count(t, space, blob.Index); n > 6 {
			t.Errorf("%d index files have come together", n)
		}
		sound(t, space)
	})
}

func retainFor(t *testing.T, l *locking, h blob.Handle, d time.Duration) {
	t.Helper()
	if err := l.Retain(t.Context(), h, time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
}

// least is the shortest retention of all that it takes to restore a snapshot: of each blob the best copy that a retained
// index file lists counts.
func (l *locking) least(t *testing.T, v *vault.Vault, id object.ID) time.Duration {
	t.Helper()
	left := func(h blob.Handle) time.Duration {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Until(l.at[h])
	}
	least := min(left(blob.Handle{Type: blob.Config}), left(blob.Handle{Type: blob.Snapshot, Name: id.String()}))
	if err := l.List(t.Context(), blob.Key, func(i blob.Info) error { least = min(least, left(i.Handle)); return nil }); err != nil {
		t.Fatal(err)
	}
	best, err := v.BestCopies(t.Context(), func(index, pack object.ID) time.Duration {
		return min(left(blob.Handle{Type: blob.Index, Name: index.String()}), left(blob.Handle{Type: blob.Pack, Name: pack.String()}))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = v.EachNeeded(t.Context(), id, func(h object.Handle) { least = min(least, best[h]) })
	if err != nil {
		t.Fatal(err)
	}
	return least
}

// TestPruneRetained has the store still retain packs and index files that nobody needs: they are named with the date,
// stay listed and stored, and go afterwards.
func TestPruneRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		store := lockingStore(space, 0)
		v := opened(t, store)
		drop, err := keep(t.Context(), v, seeds(0, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		each(t, space, blob.Pack, func(h blob.Handle) { retainFor(t, store, h, 10*aDay) })
		each(t, space, blob.Index, func(h blob.Handle) { retainFor(t, store, h, 20*aDay) })
		stays, err := keep(t.Context(), v, seeds(10, 20), "h")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Forget(t.Context(), []object.ID{drop}, vault.ForgetOptions{}); err != nil || got[0].Err != nil {
			t.Fatalf("%+v, %v", got, err)
		}
		for day := range 3 {
			plan, err := v.PlanPrune(t.Context(), atOnce)
			if err != nil || plan.Retained.Packs == 0 || time.Until(plan.Free).Round(aDay) != time.Duration(20-7*day)*aDay {
				t.Fatalf("day %d: %+v, %v", 7*day, plan, err)
			}
			if report, err := v.Prune(t.Context(), atOnce); err != nil || report.Removed.Packs > 0 || report.Hidden.Packs > 0 {
				t.Errorf("day %d: %+v, %v", 7*day, report, err)
			}
			accepted(t, export(t, space), "--read-data")
			time.Sleep(7 * aDay)
		}
		report, err := v.Prune(t.Context(), atOnce)
		if err != nil || report.Removed.Packs == 0 || report.Retained.Packs > 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if err := holdsAll(t.Context(), opened(t, store), stays, seeds(10, 20)); err != nil {
			t.Error(err)
		}
		// Packs alone are retained: they leave the index, and wait in the store.
		if got, err := v.Forget(t.Context(), []object.ID{stays}, vault.ForgetOptions{}); err != nil || got[0].Err != nil {
			t.Fatalf("%+v, %v", got, err)
		}
		each(t, space, blob.Pack, func(h blob.Handle) { retainFor(t, store, h, 10*aDay) })
		packs, _ := count(t, space, blob.Pack)
		report, err = v.Prune(t.Context(), atOnce)
		if err != nil || report.Hidden.Packs != packs || report.Retained.Packs != packs || time.Until(report.Free).Round(aDay) != 10*aDay {
			t.Errorf("%d packs: %+v, %v", packs, report, err)
		}
		time.Sleep(11 * aDay)
		if _, err := v.Prune(t.Context(), atOnce); err != nil {
			t.Error(err)
		}
		if n, _ := count(t, space, blob.Pack); n != 0 {
			t.Errorf("%d packs are left", n)
		}
		sound(t, space)
	})
}

func TestRetainRefuses(t *testing.T) {
	v, space := create(t)
	if _, err := v.Retain(t.Context(), vault.RetainOptions{For: aDay}); !errors.Is(err, failure.Unsupported) {
		t.Error(err)
	}
	store := lockingStore(space, 0)
	v = opened(t, store)
	for _, bad := range []vault.RetainOptions{{}, {For: -1}, {For: aDay, Threshold: 2 * aDay}} {
		if _, err := v.Retain(t.Context(), bad); !errors.Is(err, failure.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := keep(t.Context(), v, seeds(0, 3), "h"); err != nil {
		t.Fatal(err)
	}
	failing := opened(t, refusing{store})
	report, err := failing.Retain(t.Context(), vault.RetainOptions{For: aDay})
	if !errors.Is(err, failure.Denied) || report.Renewed == 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// refusing does not retain snapshots.
type refusing struct{ *locking }

func (r refusing) Retain(ctx context.Context, h blob.Handle, until time.Time) error {
	if h.Type == blob.Snapshot {
		return failure.New(failure.Denied, "retain", h.String(), "no")
	}
	return r.locking.Retain(ctx, h, until)
}
