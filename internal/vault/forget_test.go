package vault_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// locking is a store that retains what is saved, as Object Lock does, by a clock that the test moves.
type locking struct {
	blob.Store
	keep time.Duration // from the moment of saving; 0: not
	mu   sync.Mutex
	at   map[blob.Handle]time.Time
	asks int
}

func lockingStore(s blob.Store, keep time.Duration) *locking {
	return &locking{Store: s, keep: keep, at: map[blob.Handle]time.Time{}}
}

func (l *locking) Facts() blob.Facts {
	f := l.Store.Facts()
	f.Retention = true
	return f
}

func (l *locking) Save(ctx context.Context, h blob.Handle, c blob.Content) error {
	err := l.Store.Save(ctx, h, c)
	if err == nil && h.Type != blob.Lock && l.keep > 0 {
		err = l.Retain(ctx, h, time.Now().Add(l.keep))
	}
	return err
}

func (l *locking) Remove(ctx context.Context, h blob.Handle) error {
	l.mu.Lock()
	until := l.at[h]
	l.mu.Unlock()
	if time.Now().Before(until) {
		return failure.New(failure.Denied, "remove", h.String(), "retained")
	}
	return l.Store.Remove(ctx, h)
}

func (l *locking) Retain(ctx context.Context, h blob.Handle, until time.Time) error {
	if _, err := l.Stat(ctx, h); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.at[h]) {
		l.at[h] = until
	}
	return nil
}

func (l *locking) RetainedUntil(ctx context.Context, h blob.Handle) (time.Time, error) {
	if _, err := l.Stat(ctx, h); err != nil {
		return time.Time{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks++
	return l.at[h], nil
}

// ids lists the vault's snapshots, oldest first.
func ids(t *testing.T, v *vault.Vault) []object.ID {
	t.Helper()
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	var list []object.ID
	for _, s := range all {
		list = append(list, s.ID)
	}
	return list
}

// filled is a vault with n snapshots that share a file and have one of their own each.
func filled(t *testing.T, v *vault.Vault, n int) []object.ID {
	t.Helper()
	s := begin(t, v)
	var list []object.ID
	for i := range n {
		list = append(list, write(t, s, map[string][]byte{"same": noise(1000, 300<<10), "own": noise(uint64(1001+i), 300<<10)}))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, store := create(t)
		list := filled(t, v, 3)
		held, err := v.Hold(t.Context(), list[:1], retention.Hold{Until: time.Now().Add(time.Hour), Reason: "case"}, vault.Waiting{})
		if err != nil || held[0].Err != nil || held[0].New == list[0] {
			t.Fatalf("%+v, %v", held, err)
		}
		unknown := object.Hash([]byte("unknown"))
		all := []object.ID{held[0].New, list[1], unknown}
		for _, dry := range []bool{true, false} {
			got, err := v.Forget(t.Context(), all, vault.ForgetOptions{DryRun: dry})
			if err != nil || len(got) != 3 || !errors.Is(got[0].Err, failure.Denied) || got[1].Err != nil || got[2].Err != nil {
				t.Errorf("dry %v: %+v, %v", dry, got, err)
			}
			want := []object.ID{held[0].New, list[2]}
			if dry {
				want = []object.ID{held[0].New, list[1], list[2]}
			}
			if got := ids(t, v); len(got) != len(want) || !slices.Contains(got, want[0]) || !slices.Contains(got, want[1]) {
				t.Errorf("dry %v: %v are left, want %v", dry, got, want)
			}
		}
		time.Sleep(2 * time.Hour)
		if got, err := v.Forget(t.Context(), all[:1], vault.ForgetOptions{}); err != nil || got[0].Err != nil {
			t.Errorf("the hold has ended: %+v, %v", got, err)
		}
		sound(t, store)
	})
}

// TestForgetWaits has a session hold the vault: Forget does not begin before it has ended, and with Drain keeps newcomers
// out meanwhile.
func TestForgetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, _ := create(t)
		list := filled(t, v, 3)
		s := begin(t, v)
		if _, err := v.Forget(t.Context(), list[:1], vault.ForgetOptions{}); !errors.Is(err, failure.Conflict) {
			t.Errorf("under a session: %v", err)
		}
		start := time.Now()
		if _, err := v.Forget(t.Context(), list[:1], vault.ForgetOptions{Wait: vault.Waiting{For: time.Minute}}); !errors.Is(err, failure.Conflict) || time.Since(start) < time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		// Somebody is always at work: without draining there is never a moment.
		busy := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			defer close(busy)
			for range 20 {
				time.Sleep(time.Minute)
				next, err := v.NewSession(t.Context())
				if err == nil {
					if err := s.Close(t.Context()); err != nil {
						t.Error(err)
					}
					s = next
				} else if !errors.Is(err, failure.Conflict) {
					t.Error(err)
				}
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		go func() {
			_, err := v.Forget(t.Context(), list[:1], vault.ForgetOptions{Wait: vault.Waiting{For: 5*time.Minute + time.Second, Drain: time.Minute}})
			if !errors.Is(err, failure.Conflict) {
				t.Errorf("the session outlasts the draining: %v", err)
			}
			got, err := v.Forget(t.Context(), list[:1], vault.ForgetOptions{Wait: vault.Waiting{For: time.Minute, Drain: time.Hour}})
			if err == nil {
				err = got[0].Err
			}
			done <- err
		}()
		<-busy
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left := ids(t, v); len(left) != 2 {
			t.Errorf("%d are left, want 2", len(left))
		}
		if locks, err := v.Locks(t.Context()); err != nil || len(locks) > 0 {
			t.Errorf("%v, %v", locks, err)
		}
	})
}

// TestForgetRetained has the store retain snapshots: they are named with the date, the others go.
func TestForgetRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		store := lockingStore(space, 0)
		v, err := vault.Open(t.Context(), store, password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		list := filled(t, v, 1)
		store.keep = 24 * time.Hour
		list = append(list, filled(t, v, 1)...)
		until := time.Now().Add(24 * time.Hour)
		got, err := v.Forget(t.Context(), list, vault.ForgetOptions{})
		if err != nil || got[0].Err != nil || !errors.Is(got[1].Err, failure.Denied) || got[1].NotBefore.Sub(until).Abs() > time.Minute {
			t.Errorf("%+v, %v", got, err)
		}
		// A hold can be put on all the same: the old snapshot stays beside the new one.
		tagged, err := v.Hold(t.Context(), list[1:], retention.Hold{}, vault.Waiting{})
		if err != nil || !errors.Is(tagged[0].Err, failure.Denied) || tagged[0].New.IsZero() || len(ids(t, v)) != 2 {
			t.Errorf("%+v, %v", tagged, err)
		}
		time.Sleep(48 * time.Hour)
		got, err = v.Forget(t.Context(), []object.ID{list[1], tagged[0].New}, vault.ForgetOptions{})
		if err != nil || got[0].Err != nil || !errors.Is(got[1].Err, failure.Denied) || !got[1].NotBefore.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestTag changes tags, and has restic read what comes of it.
func TestTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, store := create(t)
		list := filled(t, v, 2)
		first, err := v.Tag(t.Context(), list[:1], vault.TagChange{Add: []string{"a", "b", "", "a"}, Remove: []string{"x"}}, vault.Waiting{})
		if err != nil || first[0].Err != nil {
			t.Fatalf("%+v, %v", first, err)
		}
		second, err := v.Tag(t.Context(), []object.ID{first[0].New}, vault.TagChange{Add: []string{"c"}, Remove: []string{"a"}}, vault.Waiting{})
		if err != nil || second[0].Err != nil {
			t.Fatalf("%+v, %v", second, err)
		}
		sn, err := v.Snapshot(t.Context(), second[0].New)
		if err != nil || !slices.Equal(sn.Tags, []string{"b", "c"}) || sn.Original == nil || *sn.Original != list[0] {
			t.Errorf("%+v, %v", sn, err)
		}
		same, err := v.Tag(t.Context(), []object.ID{sn.ID}, vault.TagChange{Add: []string{"b"}}, vault.Waiting{})
		if err != nil || same[0].New != sn.ID {
			t.Errorf("nothing changed, and yet: %+v, %v", same, err)
		}
		held, err := v.Hold(t.Context(), []object.ID{sn.ID}, retention.Hold{Reason: "r"}, vault.Waiting{})
		if err != nil || held[0].Err != nil {
			t.Fatalf("%+v, %v", held, err)
		}
		for _, c := range []vault.TagChange{{Set: true}, {Remove: []string{retention.HoldTag}}, {Add: []string{"lifeboat-hold-until=2020-01-01"}}} {
			if got, err := v.Tag(t.Context(), []object.ID{held[0].New}, c, vault.Waiting{}); err != nil || !errors.Is(got[0].Err, failure.Denied) {
				t.Errorf("%+v: %+v, %v", c, got, err)
			}
		}
		ended, err := v.EndHold(t.Context(), []object.ID{held[0].New}, vault.Waiting{})
		if err != nil || ended[0].Err != nil {
			t.Fatalf("%+v, %v", ended, err)
		}
		if _, err := v.Tag(t.Context(), list[1:], vault.TagChange{Set: true, Add: []string{"set"}}, vault.Waiting{}); err != nil {
			t.Error(err)
		}
		for _, bad := range []vault.TagChange{{Add: []string{"a,b"}}, {Set: true, Remove: []string{"a"}}} {
			if _, err := v.Tag(t.Context(), list, bad, vault.Waiting{}); !errors.Is(err, failure.Invalid) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		repo := export(t, store)
		accepted(t, repo, "--read-data")
		var tags [][]string
		for _, s := range snapshotsOf(t, repo) {
			tags = append(tags, s.Tags)
		}
		slices.SortFunc(tags, slices.Compare)
		if len(tags) != 2 || !slices.Equal(tags[0], []string{"b", "c"}) || !slices.Equal(tags[1], []string{"set"}) {
			t.Errorf("restic lists %q", tags)
		}
		restic(t, repo, "tag", "--add", "theirs", ended[0].New.String())
		if all, err := snapshotsIn(t, repo); err != nil || len(all) != 2 {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// snapshotsIn lists a folder's snapshots by our reader.
func snapshotsIn(t *testing.T, repo string) ([]*snapshot.Snapshot, error) {
	t.Helper()
	v, err := vault.Open(t.Context(), load(t, repo), password, cheap)
	if err != nil {
		return nil, err
	}
	return v.Snapshots(t.Context(), snapshot.Filter{})
}
