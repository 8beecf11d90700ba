package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Listed is what s lists of one type, by handle. An object that is listed twice is an error.
func Listed(ctx context.Context, s blob.Store, t blob.Type) (map[blob.Handle]int64, error) {
	all := map[blob.Handle]int64{}
	err := s.List(ctx, t, func(i blob.Info) error {
		if _, twice := all[i.Handle]; twice {
			return fmt.Errorf("%s is listed twice", i.Handle)
		}
		all[i.Handle] = i.Size
		return nil
	})
	return all, err
}

// lists is nil when s lists exactly want.
func lists(ctx context.Context, s blob.Store, want map[blob.Handle]int64) error {
	for _, t := range blob.Types() {
		got, err := Listed(ctx, s, t)
		if err != nil {
			return fmt.Errorf("list of %s: %w", t, err)
		}
		mine := map[blob.Handle]int64{}
		for h, size := range want {
			if h.Type == t {
				mine[h] = size
			}
		}
		if diff := cmp.Diff(mine, got); diff != "" {
			return fmt.Errorf("list of %s (-want +got):\n%s", t, diff)
		}
	}
	return nil
}

func list(ctx context.Context, s two) error {
	want := map[blob.Handle]int64{}
	if err := lists(ctx, s.b, want); err != nil {
		return fmt.Errorf("an empty place: %w", err)
	}
	for i := range 40 {
		for _, t := range blob.Types() {
			if t == blob.Config && i > 0 || t != blob.Pack && i > 3 {
				continue
			}
			o := Make(t, uint64(i), i*10)
			if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil && i > 0 {
				return err
			} else if err != nil && failure.KindOf(err) != failure.Exists {
				return err
			}
			want[o.Handle] = int64(len(o.Bytes))
		}
	}
	return errors.Join(lists(ctx, s.a, want), lists(ctx, s.b, want))
}

// listEnds holds that an error of the callback ends a listing, and comes back as it is.
func listEnds(ctx context.Context, s two) error {
	for i := range 5 {
		o := Make(blob.Pack, uint64(i), 10)
		if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			return err
		}
	}
	enough, calls := errors.New("enough"), 0
	err := s.a.List(ctx, blob.Pack, func(blob.Info) error {
		calls++
		if calls == 2 {
			return enough
		}
		return nil
	})
	return errors.Join(
		errorf(err != enough, "list gives %v, not the error of the callback as it is", err),
		errorf(calls != 2, "the callback is called %d times, want 2", calls))
}

func remove(ctx context.Context, s two) error {
	want := map[blob.Handle]int64{}
	var all []Object
	for i := range 6 {
		o := Make(blob.Types()[i%3+2], uint64(i), 100+i)
		if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			return err
		}
		all, want[o.Handle] = append(all, o), int64(len(o.Bytes))
	}
	for i, o := range all {
		if i%2 == 0 {
			continue
		}
		for range 2 {
			if err := s.b.Remove(ctx, o.Handle); err != nil {
				return err
			}
		}
		delete(want, o.Handle)
		_, err := s.a.Stat(ctx, o.Handle)
		if err := Kind("stat of what was removed", err, failure.NotFound); err != nil {
			return err
		}
	}
	if err := lists(ctx, s.a, want); err != nil {
		return err
	}
	again := all[1]
	if err := s.a.Save(ctx, again.Handle, bytes.NewReader(again.Bytes)); err != nil {
		return fmt.Errorf("save after remove: %w", err)
	}
	want[again.Handle] = int64(len(again.Bytes))
	return errors.Join(holds(ctx, s.b, again), holds(ctx, s.b, all[0]), lists(ctx, s.b, want))
}
