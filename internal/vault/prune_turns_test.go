package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// turns lets calls to stores go one at a time, in an order drawn by lot.
type turns struct {
	mu      sync.Mutex
	waiting []chan struct{}
}

func (t *turns) wait(ctx context.Context) error {
	c := make(chan struct{})
	t.mu.Lock()
	t.waiting = append(t.waiting, c)
	t.mu.Unlock()
	<-c
	return failure.Wrap(ctx.Err(), "reach the store", "")
}

// next lets one call go, and reports whether one was waiting.
func (t *turns) next(r *rand.Rand) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return false
	}
	i := r.IntN(len(t.waiting))
	close(t.waiting[i])
	t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
	return true
}

// taking is a store whose calls take turns.
type taking struct {
	*memory.Store
	t *turns
}

func (s taking) Save(ctx context.Context, h blob.Handle, c blob.Content) error {
	if err := s.t.wait(ctx); err != nil {
		return err
	}
	return s.Store.Save(ctx, h, c)
}

func (s taking) Remove(ctx context.Context, h blob.Handle) error {
	if err := s.t.wait(ctx); err != nil {
		return err
	}
	return s.Store.Remove(ctx, h)
}

func (s taking) Load(ctx context.Context, h blob.Handle, off, n int64) (io.ReadCloser, error) {
	if err := s.t.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Load(ctx, h, off, n)
}

// List lists half, lets others go, and lists the rest as it is then: what is saved or removed meanwhile may be in it or not.
func (s taking) List(ctx context.Context, typ blob.Type, each func(blob.Info) error) error {
	var first []blob.Info
	for half := range 2 {
		if err := s.t.wait(ctx); err != nil {
			return err
		}
		err := s.Store.List(ctx, typ, func(i blob.Info) error {
			if (i.Name[0] < '8') == (half == 0) {
				first = append(first, i)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, i := range first {
		if err := each(i); err != nil {
			return err
		}
	}
	return nil
}

// world is what the actors of one run share.
type world struct {
	space *memory.Store
	turns *turns

	mu   sync.Mutex
	want map[object.ID]files // snapshots that are to be there, by their first ids
	done map[string]int
	errs []error
}

func (w *world) did(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[what]++
	if err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", what, err))
	}
}

func (w *world) open(t *testing.T, host string) *vault.Vault {
	t.Helper()
	o := tiny
	o.Workers, o.RetryLock = 2, 6*time.Hour
	o.Identity = vault.Identity{Hostname: host, Username: "u", PID: 1}
	v, err := vault.Open(t.Context(), w.space, password, o)
	if err != nil {
		t.Fatal(err)
	}
	vault.Behind(v, taking{w.space, w.turns})
	return v
}

// writer stores snapshots, one after the other: much of what it stores was there before, or was forgotten before.
func (w *world) writer(ctx context.Context, v *vault.Vault, r *rand.Rand, rounds int) {
	for range rounds {
		f := seeds(r.Uint64N(12), 1+r.Uint64N(6))
		id, err := keep(ctx, v, f, "h")
		if err == nil {
			w.mu.Lock()
			w.want[id] = f
			w.mu.Unlock()
		}
		w.did("backup", err)
		time.Sleep(time.Duration(r.IntN(40)) * time.Second)
	}
}

// remover forgets and prunes.
func (w *world) remover(ctx context.Context, v *vault.Vault, r *rand.Rand, rounds int) {
	for range rounds {
		time.Sleep(time.Duration(r.IntN(40)) * time.Second)
		w.mu.Lock()
		var drop []object.ID
		for id := range w.want {
			if r.IntN(2) == 0 {
				drop = append(drop, id)
				delete(w.want, id)
			}
		}
		w.mu.Unlock()
		wait := vault.Waiting{For: time.Duration(r.IntN(60)) * time.Second, Drain: time.Duration(r.IntN(2)) * time.Hour}
		if r.IntN(4) > 0 {
			_, err := v.Forget(ctx, drop, vault.ForgetOptions{Wait: wait})
			w.did("forget", unlessBusy(err))
		}
		o := vault.PruneOptions{MaxUnused: []string{"0", "5%", "unlimited"}[r.IntN(3)], Grace: []time.Duration{-1, time.Second, 5 * time.Minute}[r.IntN(3)],
			RepackSmall: r.IntN(2) == 0, Wait: wait}
		report, err := v.Prune(ctx, o)
		w.did("prune", unlessBusy(err))
		if err == nil && report.Removed.Packs > 0 {
			w.did("removal", nil)
		}
	}
}

// reader reads the index again and again, under nobody's lock. A prune may remove an index file under it.
func (w *world) reader(ctx context.Context, v *vault.Vault, r *rand.Rand) {
	for range 150 {
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		if err := v.LoadIndex(ctx); !errors.Is(err, failure.NotFound) {
			w.did("reading", err)
		}
	}
}

func unlessBusy(err error) error {
	if errors.Is(err, failure.Conflict) {
		return nil
	}
	return err
}

// TestTurns runs backups on two hosts beside forgets and prunes on two more, on one store whose calls are taken in an
// order drawn by lot, with listings that see half of what changes. At every moment, were everybody to die in it, every
// snapshot that there is must be whole, and those that nobody forgot must be there.
func TestTurns(t *testing.T) {
	runs := 12
	if os.Getenv("LIFEBOAT_LONG") != "" {
		runs = 300
	}
	first := rand.Uint64()
	total := map[string]int{}
	for run := range runs {
		seed := first + uint64(run)
		synctest.Test(t, func(t *testing.T) {
			for what, n := range oneRun(t, seed) {
				total[what] += n
			}
		})
		if t.Failed() {
			t.Fatalf("the seed is %d", seed)
		}
	}
	t.Logf("%v", total)
	if total["removal"] == 0 {
		t.Error("nothing was ever removed")
	}
}

func oneRun(t *testing.T, seed uint64) map[string]int {
	r := rand.New(rand.NewPCG(seed, 3))
	w := &world{space: memory.New(), turns: &turns{}, want: map[object.ID]files{}, done: map[string]int{}}
	if _, err := vault.Init(t.Context(), w.space, password, tiny); err != nil {
		t.Fatal(err)
	}
	var actors sync.WaitGroup
	for i := range 2 {
		wv, rv := w.open(t, fmt.Sprintf("writer%d", i)), w.open(t, fmt.Sprintf("remover%d", i))
		if seed%3 == 0 { // in one process
			rv = wv
			actors.Go(func() { w.reader(t.Context(), rv, rand.New(rand.NewPCG(seed, uint64(30+i)))) })
		}
		wr, rr := rand.New(rand.NewPCG(seed, uint64(10+i))), rand.New(rand.NewPCG(seed, uint64(20+i)))
		actors.Go(func() { w.writer(t.Context(), wv, wr, 6) })
		actors.Go(func() { w.remover(t.Context(), rv, rr, 4) })
	}
	finished := make(chan struct{})
	go func() { actors.Wait(); close(finished) }()
	for step := 0; ; step++ {
		synctest.Wait()
		select {
		case <-finished:
			w.judge(t, true)
			for _, err := range w.errs {
				t.Error(err)
			}
			return w.done
		default:
		}
		if r.IntN(60) == 0 {
			w.judge(t, false)
			if t.Failed() {
				t.Errorf("after %d calls", step)
				// Everybody goes on, so that the run ends.
			}
		}
		if !w.turns.next(r) || r.IntN(200) == 0 {
			time.Sleep(time.Duration(1+r.IntN(3000)) * time.Millisecond)
		}
	}
}

// judge looks at what there would be if everybody died now.
func (w *world) judge(t *testing.T, last bool) {
	t.Helper()
	w.mu.Lock()
	left := w.space.Clone()
	want := map[object.ID]files{}
	for id, f := range w.want {
		want[id] = f
	}
	w.mu.Unlock()
	v := opened(t, left)
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: last, NoLock: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Error(err)
	}
	there := map[object.ID]bool{}
	for _, s := range all {
		there[s.ID] = true
	}
	for id, f := range want {
		if !there[id] {
			t.Errorf("snapshot %s is gone, and nobody forgot it", id.Short())
		} else if last {
			if err := holdsAll(t.Context(), v, id, f); err != nil {
				t.Error(err)
			}
		}
	}
}
