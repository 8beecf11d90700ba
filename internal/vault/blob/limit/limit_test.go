package limit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/limit"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
)

func TestSuite(t *testing.T) {
	for _, o := range []limit.Options{{}, {Connections: 1}, {Connections: 3, Upload: 1 << 32, Download: 1 << 32}} {
		blobtest.Run(t, func(testing.TB) blobtest.Place {
			var space memory.Space
			return func() (blob.Store, error) { return limit.Wrap(space.Open(), o), nil }
		})
	}
}

// gated is a store in which calls stand until they are let go.
type gated struct {
	blob.Store
	gate chan struct{}

	mu      sync.Mutex
	inside  map[blob.Type]int
	highest map[blob.Type]int
}

func newGated() *gated {
	return &gated{Store: memory.New(), gate: make(chan struct{}), inside: map[blob.Type]int{}, highest: map[blob.Type]int{}}
}

func (g *gated) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	g.mu.Lock()
	g.inside[h.Type]++
	g.highest[h.Type] = max(g.highest[h.Type], g.inside[h.Type])
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inside[h.Type]--
	}()
	select {
	case <-g.gate:
		return blob.Info{Handle: h}, nil
	case <-ctx.Done():
		return blob.Info{}, failure.Wrap(ctx.Err(), "stat", h.String())
	}
}

func (g *gated) now(t blob.Type) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside[t]
}

// TestConnections holds how many calls are let through, that packs leave room for the others, and that locks wait for
// nobody.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		s := limit.Wrap(g, limit.Options{Connections: 4})
		if got := s.Facts().MaxParallel; got != 4 {
			t.Errorf("MaxParallel is %d, want 4", got)
		}
		var all sync.WaitGroup
		stat := func(typ blob.Type, n int) {
			for i := range n {
				all.Go(func() {
					if _, err := s.Stat(t.Context(), blobtest.Make(typ, uint64(i), 1).Handle); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
		}
		stat(blob.Pack, 20)
		if got := g.now(blob.Pack); got != 3 {
			t.Errorf("%d calls for packs are made, want 3 of 4", got)
		}
		stat(blob.Snapshot, 5)
		if got := g.now(blob.Snapshot); got != 1 {
			t.Errorf("%d calls for snapshots are made beside the packs, want 1", got)
		}
		stat(blob.Lock, 3)
		if got := g.now(blob.Lock); got != 3 {
			t.Errorf("%d calls for locks are made, want all 3", got)
		}
		close(g.gate)
		all.Wait()
		if g.highest[blob.Pack] > 3 || g.highest[blob.Snapshot] > 4 {
			t.Errorf("at most there were %v", g.highest)
		}
	})
}

// TestCanceledInLine holds that a call gives up waiting with its context, and takes no place with it.
func TestCanceledInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		s := limit.Wrap(g, limit.Options{Connections: 1})
		h := blobtest.Make(blob.Pack, 1, 1).Handle
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := s.Stat(t.Context(), h); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := s.Stat(ctx, h); second <- err }()
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, failure.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		close(g.gate)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if _, err := s.Stat(t.Context(), h); err != nil {
			t.Error(err)
		}
	})
}

// TestCanceledBetweenPlaces holds that a call for a pack which gives up on its way takes neither of its places with it.
func TestCanceledBetweenPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		s := limit.Wrap(g, limit.Options{Connections: 2})
		stat := func(ctx context.Context, typ blob.Type, done chan<- error) {
			go func() { _, err := s.Stat(ctx, blobtest.Make(typ, 1, 1).Handle); done <- err }()
			synctest.Wait()
		}
		others, given := make(chan error, 2), make(chan error, 1)
		stat(t.Context(), blob.Snapshot, others)
		stat(t.Context(), blob.Snapshot, others)
		ctx, cancel := context.WithCancel(t.Context())
		stat(ctx, blob.Pack, given)
		cancel()
		if err := <-given; !errors.Is(err, failure.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		close(g.gate)
		if err := errors.Join(<-others, <-others); err != nil {
			t.Error(err)
		}
		if _, err := s.Stat(t.Context(), blobtest.Make(blob.Pack, 1, 1).Handle); err != nil {
			t.Error(err)
		}
	})
}

// TestReadersTakeTurns holds that whoever has readers open can make other calls: an open reader keeps no place.
func TestReadersTakeTurns(t *testing.T) {
	s := limit.Wrap(memory.New(), limit.Options{Connections: 1})
	o := blobtest.Make(blob.Pack, 1, 300_000)
	if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		t.Fatal(err)
	}
	var readers [3]io.ReadCloser
	for i := range readers {
		f, err := s.Load(t.Context(), o.Handle, 0, blob.ToEnd)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		readers[i] = f
	}
	var got [3]bytes.Buffer
	for {
		n := 0
		for i, f := range readers {
			part, err := io.ReadAll(io.LimitReader(f, 100_000))
			if err != nil {
				t.Fatal(err)
			}
			got[i].Write(part)
			n += len(part)
		}
		if n == 0 {
			break
		}
		if _, err := s.Stat(t.Context(), o.Handle); err != nil {
			t.Fatal(err)
		}
	}
	for i := range got {
		if !bytes.Equal(got[i].Bytes(), o.Bytes) {
			t.Errorf("reader %d gives other bytes", i)
		}
	}
}

// TestRates holds that bytes move as fast as they may, all calls together, and no faster.
func TestRates(t *testing.T) {
	const rate, size, n = 1 << 20, 1 << 20, 4
	near := func(what string, took time.Duration) {
		t.Helper()
		if want := n * size / rate * time.Second; took < want*15/16 || took > want*17/16 {
			t.Errorf("%s of %d bytes takes %s, want %s", what, n*size, took, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := limit.Wrap(memory.New(), limit.Options{Upload: rate, Download: rate})
		var all sync.WaitGroup
		begin := time.Now()
		for i := range n {
			all.Go(func() {
				o := blobtest.Make(blob.Pack, uint64(i), size)
				if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		near("saving", time.Since(begin))
		begin = time.Now()
		for i := range n {
			all.Go(func() {
				o := blobtest.Make(blob.Pack, uint64(i), size)
				got, err := blob.ReadAll(t.Context(), s, o.Handle)
				if err != nil || !bytes.Equal(got, o.Bytes) {
					t.Errorf("other bytes, %v", err)
				}
			})
		}
		all.Wait()
		near("loading", time.Since(begin))
		begin = time.Now()
		lock := blobtest.Make(blob.Lock, 1, 1<<20)
		if err := s.Save(t.Context(), lock.Handle, bytes.NewReader(lock.Bytes)); err != nil || time.Since(begin) != 0 {
			t.Errorf("a lock waits for %s, %v", time.Since(begin), err)
		}
	})
}

// TestMeter holds that what a store reads for another end than to send it does not count.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &summing{Store: memory.New()}
		s := limit.Wrap(inner, limit.Options{Upload: 1 << 20})
		o := blobtest.Make(blob.Pack, 1, 4<<20)
		begin := time.Now()
		if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("4 MiB at 1 MiB/s take %s: what was read twice was counted twice", took)
		}
		if !inner.whole {
			t.Error("past the meter other content is read")
		}
	})
}

// summing reads content once more, past the meter.
type summing struct {
	blob.Store
	whole bool
}

func (s *summing) Save(ctx context.Context, h blob.Handle, c blob.Content) error {
	all, err := io.ReadAll(blob.Reader(blob.Source(c)))
	s.whole = int64(len(all)) == c.Size()
	return errors.Join(err, s.Store.Save(ctx, h, c))
}

// TestRateCanceled holds that a slow Save ends with its context, at a byte and not at the end.
func TestRateCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limit.Wrap(memory.New(), limit.Options{Upload: 1000})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		o := blobtest.Make(blob.Pack, 1, 1<<20)
		begin := time.Now()
		err := s.Save(ctx, o.Handle, bytes.NewReader(o.Bytes))
		if err == nil || failure.KindOf(err) != failure.Unavailable || time.Since(begin) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
	})
}
