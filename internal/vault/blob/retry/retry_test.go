package retry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/cache"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/faulty"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/limit"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/retry"
)

// quick makes pauses that tests can wait for.
var quick = retry.Options{First: time.Microsecond, Longest: 10 * time.Microsecond, Attempts: 100}

func TestSuite(t *testing.T) {
	blobtest.Run(t, func(testing.TB) blobtest.Place {
		var space memory.Space
		return func() (blob.Store, error) { return retry.Wrap(space.Open(), quick), nil }
	})
}

// unpromised promises nothing about who of several creates an object. After an attempt whose outcome is unknown, each of
// several who save the same bytes finds them there and takes them for its own.
type unpromised struct{ blob.Store }

func (u unpromised) Facts() blob.Facts {
	f := u.Store.Facts()
	f.AtomicCreate = false
	return f
}

// TestSuiteOverFaults holds that patience hides whatever a store may do: over stores that fail in every way that is
// allowed, everything that the suite asks of a store still holds.
func TestSuiteOverFaults(t *testing.T) {
	for seed := range uint64(4) {
		blobtest.Run(t, func(testing.TB) blobtest.Place {
			var space memory.Space
			n := seed * 1000
			return func() (blob.Store, error) {
				n++
				return retry.Wrap(faulty.Wrap(unpromised{space.Open()}, faulty.Options{
					Seed: n, Reorder: true, Short: true, Rates: faulty.Rates{Before: 0.2, After: 0.2, Break: 0.2},
				}), quick), nil
			}
		})
	}
}

// TestSuiteOfAll runs everything that is laid around a store, in the order in which a vault lays it.
func TestSuiteOfAll(t *testing.T) {
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		var space memory.Space
		folder, n := tb.TempDir(), uint64(0)
		return func() (blob.Store, error) {
			n++
			faults := faulty.Wrap(unpromised{space.Open()}, faulty.Options{Seed: n, Reorder: true, Short: true, Rates: faulty.Rates{Before: 0.1, After: 0.1, Break: 0.1}})
			patient := retry.Wrap(limit.Wrap(faults, limit.Options{Connections: 8, Upload: 1 << 30, Download: 1 << 30}), quick)
			return cache.Wrap(patient, cache.Options{Folder: folder, ID: "test"}), nil
		}
	})
}

// scripted is a store in memory that fails by a script, with patience around it.
func scripted(t *testing.T, o retry.Options, script ...faulty.Fault) (*retry.Store, *faulty.Store) {
	t.Helper()
	faults := faulty.Wrap(memory.New(), faulty.Options{Script: script})
	return retry.Wrap(faults, o), faults
}

func fired(t *testing.T, faults *faulty.Store) {
	t.Helper()
	if left := faults.Unfired(); len(left) > 0 {
		t.Errorf("faults that did not happen: %+v", left)
	}
}

// TestPauses holds how long is waited: doubling, bounded, four times as long when the server asks for it, with jitter
// between a half and the whole.
func TestPauses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   failure.Kind
		random float64
		times  int
		want   time.Duration
	}{
		{"unavailable", failure.Unavailable, 1, 4, 15 * time.Second}, // 1+2+4+8
		{"with all the jitter", failure.Unavailable, 0, 4, 7500 * time.Millisecond},
		{"bounded", failure.Unavailable, 1, 8, (15 + 4*10) * time.Second},
		{"throttled", failure.Throttled, 1, 3, 28 * time.Second},
		{"indeterminate", failure.Indeterminate, 1, 2, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, faults := scripted(t, retry.Options{First: time.Second, Longest: 10 * time.Second, Random: func() float64 { return tt.random }},
					faulty.Fault{Op: faulty.Stat, Do: faulty.Before, Kind: tt.kind, Times: tt.times})
				begin := time.Now()
				_, err := s.Stat(t.Context(), blobtest.Make(blob.Pack, 1, 1).Handle)
				if !errors.Is(err, failure.NotFound) {
					t.Errorf("stat: %v, want not found in the end", err)
				}
				if got := time.Since(begin); got != tt.want {
					t.Errorf("waited for %s, want %s", got, tt.want)
				}
				fired(t, faults)
			})
		})
	}
}

// TestNotAgain holds that what will not pass by itself is not tried again.
func TestNotAgain(t *testing.T) {
	for _, kind := range failure.Kinds() {
		retried := kind == failure.Unavailable || kind == failure.Throttled || kind == failure.Indeterminate
		if kind == failure.Internal {
			continue // the script's word for "whatever fits"
		}
		s, faults := scripted(t, quick, faulty.Fault{Op: faulty.Remove, Do: faulty.Before, Kind: kind})
		err := s.Remove(t.Context(), blobtest.Make(blob.Pack, 1, 1).Handle)
		if (err == nil) != retried {
			t.Errorf("%s: remove gives %v, and is to be tried again: %v", kind, err, retried)
		}
		if err != nil && failure.KindOf(err) != kind {
			t.Errorf("%s becomes %s", kind, failure.KindOf(err))
		}
		fired(t, faults)
	}
}

// TestBudget holds that trying ends, by time and by attempts, and says how long it took.
func TestBudget(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    retry.Options
		want string
	}{
		{"time", retry.Options{Budget: time.Minute, Attempts: 1000, First: time.Second, Longest: 7 * time.Second, Random: func() float64 { return 1 }}, "11 attempts in 56s"},
		{"attempts", retry.Options{Budget: time.Hour, Attempts: 5, First: time.Second, Longest: 7 * time.Second, Random: func() float64 { return 1 }}, "5 attempts in 14s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := scripted(t, tt.o, faulty.Fault{Op: faulty.Stat, Do: faulty.Before, Times: 10_000})
				_, err := s.Stat(t.Context(), blobtest.Make(blob.Pack, 1, 1).Handle)
				if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want unavailable after %q", err, tt.want)
				}
			})
		})
	}
}

// TestCanceledWhileWaiting holds that a context ends the waiting at once.
func TestCanceledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := scripted(t, retry.Options{First: time.Hour, Longest: time.Hour, Budget: 10 * time.Hour}, faulty.Fault{Op: faulty.Save, Do: faulty.Before, Times: 10})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		begin := time.Now()
		o := blobtest.Make(blob.Pack, 1, 10)
		err := s.Save(ctx, o.Handle, bytes.NewReader(o.Bytes))
		if !errors.Is(err, failure.Canceled) || time.Since(begin) != time.Minute {
			t.Errorf("after %s: %v, want canceled after a minute", time.Since(begin), err)
		}
		if !strings.Contains(err.Error(), "a fault of the test") {
			t.Errorf("the error does not say what was waited for: %v", err)
		}
	})
}

// TestSaveSettled holds what becomes of a Save that may have had its effect.
func TestSaveSettled(t *testing.T) {
	mine, other := blobtest.Make(blob.Config, 1, 100), blobtest.Make(blob.Config, 2, 100)
	save := func(s blob.Store, o blobtest.Object) error {
		return s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes))
	}
	holds := func(s blob.Store, o blobtest.Object) {
		t.Helper()
		got, err := blob.ReadAll(t.Context(), s, o.Handle)
		if err != nil || !bytes.Equal(got, o.Bytes) {
			t.Errorf("other bytes are stored, or none: %v", err)
		}
	}
	t.Run("it had", func(t *testing.T) {
		s, faults := scripted(t, quick, faulty.Fault{Op: faulty.Save, Do: faulty.After})
		if err := save(s, mine); err != nil {
			t.Error(err)
		}
		holds(s, mine)
		fired(t, faults)
	})
	t.Run("it had not", func(t *testing.T) {
		s, faults := scripted(t, quick, faulty.Fault{Op: faulty.Save, Do: faulty.Before, Kind: failure.Indeterminate, Times: 3})
		if err := save(s, mine); err != nil {
			t.Error(err)
		}
		holds(s, mine)
		fired(t, faults)
	})
	t.Run("the store says it had not, and it had", func(t *testing.T) {
		s, faults := scripted(t, quick, faulty.Fault{Op: faulty.Save, Do: faulty.After, Kind: failure.Unavailable})
		if err := save(s, mine); err != nil {
			t.Error(err)
		}
		holds(s, mine)
		fired(t, faults)
	})
	t.Run("somebody else was faster", func(t *testing.T) {
		inner := memory.New()
		if err := save(inner, other); err != nil {
			t.Fatal(err)
		}
		faults := faulty.Wrap(inner, faulty.Options{Script: []faulty.Fault{{Op: faulty.Save, Do: faulty.Before, Kind: failure.Indeterminate}}})
		s := retry.Wrap(faults, quick)
		if err := save(s, mine); !errors.Is(err, failure.Exists) {
			t.Errorf("got %v, want exists", err)
		}
		holds(s, other)
		fired(t, faults)
	})
	t.Run("it was there before", func(t *testing.T) {
		s, _ := scripted(t, quick)
		if err := save(s, mine); err != nil {
			t.Fatal(err)
		}
		if err := save(s, mine); !errors.Is(err, failure.Exists) {
			t.Errorf("got %v, want exists: the caller is to know", err)
		}
	})
	t.Run("never known", func(t *testing.T) {
		s, _ := scripted(t, retry.Options{First: 1, Longest: 1, Attempts: 4},
			faulty.Fault{Op: faulty.Save, Do: faulty.After}, faulty.Fault{Op: faulty.Stat, Do: faulty.Before, Times: 1000})
		if err := save(s, mine); !errors.Is(err, failure.Indeterminate) {
			t.Errorf("got %v, want indeterminate, although the last attempts were only unavailable", err)
		}
	})
}

// late is a store in which the first Save has its effect only when somebody has looked for it.
type late struct {
	blob.Store
	saves   int
	pending func() error
}

func (l *late) Save(ctx context.Context, h blob.Handle, c blob.Content) error {
	if l.saves++; l.saves > 1 {
		return l.Store.Save(ctx, h, c)
	}
	l.pending = func() error { return l.Store.Save(ctx, h, c) }
	return failure.New(failure.Indeterminate, "save", h.String(), "no answer")
}

func (l *late) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	info, err := l.Store.Stat(ctx, h)
	if l.pending != nil {
		err = errors.Join(err, l.pending())
		l.pending = nil
	}
	return info, err
}

// TestSaveLandsLate holds that a Save which is overtaken by its own first attempt counts as saved.
func TestSaveLandsLate(t *testing.T) {
	o, l := blobtest.Make(blob.Index, 1, 100), &late{Store: memory.New()}
	if err := retry.Wrap(l, quick).Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil || l.saves != 2 {
		t.Errorf("after %d attempts: %v", l.saves, err)
	}
}

// dripping is a store whose listings break after one more object each time.
type dripping struct {
	blob.Store
	calls int
}

func (d *dripping) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	d.calls++
	n := 0
	end := failure.New(failure.Unavailable, "list", "", "the line is cut")
	return d.Store.List(ctx, t, func(i blob.Info) error {
		if n++; n > d.calls {
			return end
		}
		return each(i)
	})
}

// TestListMovesOn holds that a listing that gets further each time is not given up.
func TestListMovesOn(t *testing.T) {
	d := &dripping{Store: sorted{memory.New()}}
	for i := range 20 {
		o := blobtest.Make(blob.Index, uint64(i), 20)
		if err := d.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	few := quick
	few.Attempts = 2
	if got, err := blobtest.Listed(t.Context(), retry.Wrap(d, few), blob.Index); err != nil || len(got) != 20 {
		t.Errorf("%d are listed, %v", len(got), err)
	}
}

// sorted lists by name.
type sorted struct{ blob.Store }

func (s sorted) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	var all []blob.Info
	if err := s.Store.List(ctx, t, func(i blob.Info) error { all = append(all, i); return nil }); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b blob.Info) int { return strings.Compare(a.Name, b.Name) })
	for _, i := range all {
		if err := each(i); err != nil {
			return err
		}
	}
	return nil
}

// TestOneConfig holds that of several who save different bytes under one name exactly one succeeds, whatever fails.
func TestOneConfig(t *testing.T) {
	for seed := range uint64(50) {
		var space memory.Space
		if err := space.Open().Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		won := make([]bool, 6)
		for i := range won {
			s := retry.Wrap(faulty.Wrap(space.Open(), faulty.Options{Seed: seed + uint64(i)*1000, Rates: faulty.Rates{Before: 0.2, After: 0.4}}), quick)
			all.Go(func() {
				o := blobtest.Make(blob.Config, uint64(i), 100)
				err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes))
				if err != nil && !errors.Is(err, failure.Exists) {
					t.Error(err)
				}
				won[i] = err == nil
			})
		}
		all.Wait()
		n := 0
		for i, w := range won {
			if !w {
				continue
			}
			n++
			got, err := blob.ReadAll(t.Context(), space.Open(), blob.Handle{Type: blob.Config})
			if err != nil || !bytes.Equal(got, blobtest.Make(blob.Config, uint64(i), 100).Bytes) {
				t.Errorf("seed %d: number %d has won, and its config is not there: %v", seed, i, err)
			}
		}
		if n != 1 {
			t.Errorf("seed %d: %d of %d have won", seed, n, len(won))
		}
	}
}

// counting counts the bytes and the calls that reach the store.
type counting struct {
	blob.Store
	loads  int
	asked  []int64 // offsets
	broken int     // loads that break after 1000 bytes
}

func (c *counting) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	c.loads++
	c.asked = append(c.asked, offset)
	f, err := c.Store.Load(ctx, h, offset, length)
	if err != nil || c.loads > c.broken {
		return f, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(f, 1000), failing{}), f}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, failure.New(failure.Unavailable, "load", "", "the line is cut")
}

// TestLoadGoesOn holds that a Load which breaks fetches only what is missing, however often it breaks.
func TestLoadGoesOn(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 4500)
	for _, length := range []int64{4400, blob.ToEnd} {
		c := &counting{Store: memory.New(), broken: 4}
		if err := c.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
		one := quick
		one.Attempts = 2 // moving on renews the patience
		f, err := retry.Wrap(c, one).Load(t.Context(), o.Handle, 100, length)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, o.Bytes[100:]) {
			t.Errorf("%d other bytes, %v", len(got), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int64{100, 1100, 2100, 3100, 4100}, c.asked); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
	}
}

// TestLoadEndsEarly holds that an end without an error is a broken line, and a short object is said to be one.
func TestLoadEndsEarly(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 4500)
	s, faults := scripted(t, quick, faulty.Fault{Op: faulty.Load, Do: faulty.Truncate, Times: 3})
	if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4500)
	if err := blob.ReadFull(t.Context(), s, o.Handle, got, 0); err != nil || !bytes.Equal(got, o.Bytes) {
		t.Errorf("other bytes, %v", err)
	}
	fired(t, faults)
	if err := blob.ReadFull(t.Context(), s, o.Handle, make([]byte, 4501), 0); !errors.Is(err, failure.Corrupt) {
		t.Errorf("one byte too many: %v, want corrupt", err)
	}
}

// TestListShowsOnce holds that a listing that breaks again and again shows everything, once, and that an error of the
// caller's is not tried again.
func TestListShowsOnce(t *testing.T) {
	inner := memory.New()
	for i := range 50 {
		o := blobtest.Make(blob.Index, uint64(i), 20)
		if err := inner.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	faults := faulty.Wrap(inner, faulty.Options{Seed: 7, Reorder: true, Script: []faulty.Fault{{Op: faulty.List, Do: faulty.Break, Times: 6}}})
	s := retry.Wrap(faults, quick)
	got, err := blobtest.Listed(t.Context(), s, blob.Index)
	if err != nil || len(got) != 50 {
		t.Errorf("%d are listed, %v", len(got), err)
	}
	fired(t, faults)
	mine, calls := failure.New(failure.Unavailable, "", "", "the caller's"), 0
	err = s.List(t.Context(), blob.Index, func(blob.Info) error { calls++; return mine })
	if err != error(mine) || calls != 1 {
		t.Errorf("the caller's error comes back as %v after %d calls", err, calls)
	}
}

// TestWarnsOnce holds that the log tells of each call that had trouble, once.
func TestWarnsOnce(t *testing.T) {
	var log bytes.Buffer
	o := quick
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s, _ := scripted(t, o, faulty.Fault{Op: faulty.Stat, Do: faulty.Before, Times: 5})
	for i := range 3 {
		if _, err := s.Stat(t.Context(), blobtest.Make(blob.Pack, uint64(i), 1).Handle); !errors.Is(err, failure.NotFound) {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, log.String())
	}
}

// keeping is a store with retention.
type keeping struct {
	blob.Store
	fails int
	until time.Time
}

func (k *keeping) Retain(_ context.Context, _ blob.Handle, until time.Time) error {
	if k.fails--; k.fails >= 0 {
		return failure.New(failure.Throttled, "retain", "", "slow down")
	}
	k.until = until
	return nil
}

func (k *keeping) RetainedUntil(context.Context, blob.Handle) (time.Time, error) { return k.until, nil }

// TestRetain holds that the capability is found through the wrapper, with its patience.
func TestRetain(t *testing.T) {
	inner, until := &keeping{Store: memory.New(), fails: 3}, time.Now().Add(time.Hour)
	r, ok := blob.As[blob.Retainer](retry.Wrap(inner, quick))
	if !ok {
		t.Fatal("no retainer is found")
	}
	h := blobtest.Make(blob.Pack, 1, 1).Handle
	if err := r.Retain(t.Context(), h, until); err != nil {
		t.Error(err)
	}
	if got, err := r.RetainedUntil(t.Context(), h); err != nil || !got.Equal(until) {
		t.Errorf("retained until %s, %v", got, err)
	}
	if err := retry.Wrap(memory.New(), quick).Retain(t.Context(), h, until); !errors.Is(err, failure.Unsupported) {
		t.Errorf("a store that keeps nothing: %v, want unsupported", err)
	}
}
