package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/faulty"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
)

// TestSuite holds that without faults nothing changes, short reads and random listings included: every store may do both.
func TestSuite(t *testing.T) {
	for _, o := range []faulty.Options{{}, {Seed: 3, Reorder: true, Short: true}, {Rates: faulty.Rates{Delay: 0.5, MaxDelay: time.Microsecond}}} {
		blobtest.Run(t, func(testing.TB) blobtest.Place {
			var space memory.Space
			return func() (blob.Store, error) { return faulty.Wrap(space.Open(), o), nil }
		})
	}
}

// history tells what a row of calls gives.
func history(t *testing.T, o faulty.Options) []string {
	t.Helper()
	s := faulty.Wrap(memory.New(), o)
	var all []string
	tell := func(what string, err error) { all = append(all, fmt.Sprint(what, " ", err)) }
	for i := range 30 {
		x := blobtest.Make(blob.Pack, uint64(i), 1000)
		tell("save", s.Save(t.Context(), x.Handle, bytes.NewReader(x.Bytes)))
		info, err := s.Stat(t.Context(), x.Handle)
		tell(fmt.Sprint("stat ", info.Size), err)
		f, err := s.Load(t.Context(), x.Handle, 0, 1000)
		if err == nil {
			var got []byte
			got, err = io.ReadAll(f)
			tell(fmt.Sprint("load ", len(got), bytes.Equal(got, x.Bytes)), f.Close())
		}
		tell("load", err)
	}
	tell("list", s.List(t.Context(), blob.Pack, func(i blob.Info) error { tell(fmt.Sprint(i), nil); return nil }))
	return all
}

// TestSeed holds that a seed means the same faults again, and another seed others.
func TestSeed(t *testing.T) {
	o := faulty.Options{Seed: 1, Short: true, Rates: faulty.Rates{Before: 0.2, After: 0.2, Break: 0.2, Truncate: 0.2, Lie: 0.2, Flip: 0.2}}
	first := history(t, o)
	sorted := func(s []string) string { slices.Sort(s); return strings.Join(s, "\n") }
	a, b := sorted(first), sorted(history(t, o))
	if a != b {
		t.Errorf("one seed gives two histories:\n%s", cmp.Diff(a, b))
	}
	o.Seed = 2
	if c := sorted(history(t, o)); a == c {
		t.Error("two seeds give one history")
	}
}

// TestScript holds what each action does, and that a script tells whether it was played.
func TestScript(t *testing.T) {
	x := blobtest.Make(blob.Pack, 1, 1000)
	save := func(s blob.Store) error { return s.Save(t.Context(), x.Handle, bytes.NewReader(x.Bytes)) }
	read := func(s blob.Store) ([]byte, error) {
		f, err := s.Load(t.Context(), x.Handle, 0, 1000)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(f)
	}
	for _, tt := range []struct {
		fault faulty.Fault
		check func(s *faulty.Store, inner *memory.Store) error
	}{
		{faulty.Fault{Op: faulty.Save, Do: faulty.Before, Kind: failure.Throttled}, func(s *faulty.Store, inner *memory.Store) error {
			err := blobtest.Kind("save", save(s), failure.Throttled)
			if _, serr := inner.Stat(t.Context(), x.Handle); serr == nil {
				return fmt.Errorf("it had an effect")
			}
			return err
		}},
		{faulty.Fault{Op: faulty.Save, Type: blob.Pack, Do: faulty.After}, func(s *faulty.Store, inner *memory.Store) error {
			if err := blobtest.Kind("save", save(s), failure.Indeterminate); err != nil {
				return err
			}
			_, err := inner.Stat(t.Context(), x.Handle)
			return err
		}},
		{faulty.Fault{Op: faulty.Load, Do: faulty.Break}, func(s *faulty.Store, inner *memory.Store) error {
			if err := save(inner); err != nil {
				return err
			}
			got, err := read(s)
			if !bytes.Equal(got, x.Bytes[:len(got)]) || len(got) == 1000 {
				return fmt.Errorf("%d bytes come, or other ones", len(got))
			}
			return blobtest.Kind("load", err, failure.Unavailable)
		}},
		{faulty.Fault{Op: faulty.Load, Do: faulty.Truncate}, func(s *faulty.Store, inner *memory.Store) error {
			if err := save(inner); err != nil {
				return err
			}
			got, err := read(s)
			if !bytes.Equal(got, x.Bytes[:len(got)]) || len(got) == 1000 {
				return fmt.Errorf("%d bytes come, or other ones", len(got))
			}
			return err
		}},
		{faulty.Fault{Op: faulty.Load, Do: faulty.Flip}, func(s *faulty.Store, inner *memory.Store) error {
			if err := save(inner); err != nil {
				return err
			}
			got, err := read(s)
			if n := differ(got, x.Bytes); n != 1 {
				return fmt.Errorf("%d bytes are others", n)
			}
			return err
		}},
		{faulty.Fault{Op: faulty.Stat, Do: faulty.Lie}, func(s *faulty.Store, inner *memory.Store) error {
			if err := save(inner); err != nil {
				return err
			}
			info, err := s.Stat(t.Context(), x.Handle)
			if info.Size == 1000 {
				return fmt.Errorf("the size is right")
			}
			return err
		}},
		{faulty.Fault{Op: faulty.List, Do: faulty.Break, Kind: failure.Throttled}, func(s *faulty.Store, inner *memory.Store) error {
			return blobtest.Kind("list", s.List(t.Context(), blob.Pack, func(blob.Info) error { return nil }), failure.Throttled)
		}},
		{faulty.Fault{Op: faulty.Remove, Spare: 2, Times: 2, Do: faulty.Before}, func(s *faulty.Store, inner *memory.Store) error {
			for i := range 6 {
				if err := s.Remove(t.Context(), x.Handle); (err != nil) != (i == 2 || i == 3) {
					return fmt.Errorf("call %d: %v", i, err)
				}
			}
			return nil
		}},
	} {
		inner := memory.New()
		s := faulty.Wrap(inner, faulty.Options{Script: []faulty.Fault{tt.fault}})
		if len(s.Unfired()) != 1 {
			t.Errorf("%+v: counts as played before it was", tt.fault)
		}
		if err := tt.check(s, inner); err != nil {
			t.Errorf("%+v: %v", tt.fault, err)
		}
		if left := s.Unfired(); len(left) > 0 {
			t.Errorf("%+v: did not happen", tt.fault)
		}
		if s.Done()[tt.fault.Do] != max(1, tt.fault.Times) {
			t.Errorf("%+v: happened %v times", tt.fault, s.Done())
		}
	}
}

func differ(a, b []byte) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n + max(len(a), len(b)) - min(len(a), len(b))
}

// TestDelay holds that delays go by the sleep that is given, and end with the context.
func TestDelay(t *testing.T) {
	var slept []time.Duration
	s := faulty.Wrap(memory.New(), faulty.Options{
		Script: []faulty.Fault{{Op: faulty.Stat, Do: faulty.Delay, For: time.Hour}},
		Sleep:  func(_ context.Context, d time.Duration) error { slept = append(slept, d); return context.Canceled },
	})
	_, err := s.Stat(t.Context(), blobtest.Make(blob.Pack, 1, 1).Handle)
	if !errors.Is(err, failure.Canceled) || len(slept) != 1 || slept[0] != time.Hour {
		t.Errorf("slept %v, %v", slept, err)
	}
}
