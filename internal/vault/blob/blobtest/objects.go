package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

func facts(_ context.Context, s two) error {
	f := s.a.Facts()
	return errors.Join(
		errorf(f.MaxParallel < 1, "MaxParallel is %d", f.MaxParallel),
		errorf(f.Location == "", "there is no Location"),
		errorf(f != s.b.Facts(), "two openings have other facts: %+v, %+v", f, s.b.Facts()),
	)
}

// beforeCreate holds that what was never created is absent or empty, never full and never broken.
func beforeCreate(ctx context.Context, place Place) error {
	s, err := place()
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Stat(ctx, Make(blob.Pack, 1, 10).Handle)
	wrong := Kind("stat", err, failure.NotFound)
	for _, t := range blob.Types() {
		err := s.List(ctx, t, func(i blob.Info) error { return fmt.Errorf("%s is listed", i) })
		if err != nil {
			wrong = errors.Join(wrong, Kind("list of "+t.String(), err, failure.NotFound))
		}
	}
	return wrong
}

func createAgain(ctx context.Context, place Place) error {
	o := Make(blob.Snapshot, 1, 100)
	for i := range 3 {
		s, err := place()
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Create(ctx); err != nil {
			return fmt.Errorf("create number %d: %w", i+1, err)
		}
		if i == 0 {
			err = s.Save(ctx, o.Handle, bytes.NewReader(o.Bytes))
		} else {
			err = holds(ctx, s, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holds is nil when s has exactly o.
func holds(ctx context.Context, s blob.Store, o Object) error {
	info, err := s.Stat(ctx, o.Handle)
	if err != nil {
		return err
	}
	if want := (blob.Info{Handle: o.Handle, Size: int64(len(o.Bytes))}); info != want {
		return fmt.Errorf("stat: %+v, want %+v", info, want)
	}
	got, err := blob.ReadAll(ctx, s, o.Handle)
	if err != nil {
		return err
	}
	return errorf(!bytes.Equal(got, o.Bytes), "%s: other bytes come back (%d, want %d)", o.Handle, len(got), len(o.Bytes))
}

func roundTrip(ctx context.Context, s two) error {
	var all []Object
	for _, t := range blob.Types() {
		for i, size := range []int{1000, 0, 1, 1<<20 + 3, 6<<20 + 1} {
			if t == blob.Config && i > 0 || i > 2 && t != blob.Pack {
				break
			}
			o := Make(t, uint64(i), size)
			if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
				return err
			}
			all = append(all, o)
		}
	}
	for _, o := range all {
		if err := errors.Join(holds(ctx, s.a, o), holds(ctx, s.b, o)); err != nil {
			return err
		}
	}
	return nil
}

func ranges(ctx context.Context, s two) error {
	const size = 300_000
	o := Make(blob.Pack, 1, size)
	if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		return err
	}
	for _, r := range [][2]int64{{0, 1}, {0, size}, {1, size - 1}, {size - 1, 1}, {77, 100_000}, {size / 2, blob.ToEnd},
		{0, blob.ToEnd}, {size - 1, blob.ToEnd}, {size, blob.ToEnd}} {
		end := r[0] + r[1]
		if r[1] == blob.ToEnd {
			end = size
		}
		f, err := s.b.Load(ctx, o.Handle, r[0], r[1])
		if err != nil {
			return fmt.Errorf("load %v: %w", r, err)
		}
		got, err := io.ReadAll(f)
		if err != nil {
			return fmt.Errorf("read %v: %w", r, err)
		}
		if !bytes.Equal(got, o.Bytes[r[0]:end]) {
			return fmt.Errorf("range %v: %d other bytes", r, len(got))
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}

// short holds that a range beyond the end is never shorter in silence.
func short(ctx context.Context, s two) error {
	for _, o := range []Object{Make(blob.Index, 1, 100), Make(blob.Index, 2, 0)} {
		if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			return err
		}
		size := int64(len(o.Bytes))
		for _, r := range [][2]int64{{0, size + 1}, {size, 1}, {size + 1, blob.ToEnd}, {size + 50, 10}, {size / 2, size + 1}} {
			f, err := s.a.Load(ctx, o.Handle, r[0], r[1])
			if err == nil {
				_, err = io.ReadAll(f)
				f.Close()
			}
			if err := Kind(fmt.Sprintf("range %v of %d bytes", r, size), err, failure.Corrupt); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeOnce(ctx context.Context, s two) error {
	pack, config := Make(blob.Pack, 1, 5000), Make(blob.Config, 1, 200)
	for _, o := range []Object{pack, config} {
		if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			return err
		}
		if err := Kind("second save of "+o.Handle.String(), s.b.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)), failure.Exists); err != nil {
			return err
		}
		if err := blob.SaveSame(ctx, s.b, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			return fmt.Errorf("save of the same bytes: %w", err)
		}
	}
	for _, other := range []Object{Make(blob.Config, 2, 200), Make(blob.Config, 3, 201), Make(blob.Config, 4, 0)} {
		content := bytes.NewReader(other.Bytes)
		err := errors.Join(
			Kind("save of another config", s.b.Save(ctx, config.Handle, content), failure.Exists),
			Kind("save of another config as the same", blob.SaveSame(ctx, s.b, config.Handle, content), failure.Exists))
		if err != nil {
			return err
		}
	}
	return errors.Join(holds(ctx, s.a, config), holds(ctx, s.a, pack))
}

func absent(ctx context.Context, s two) error {
	for _, t := range blob.Types() {
		h := Make(t, 1, 10).Handle
		_, err := s.a.Stat(ctx, h)
		wrong := Kind("stat", err, failure.NotFound)
		f, err := s.a.Load(ctx, h, 0, 5)
		if err == nil {
			f.Close()
		}
		wrong = errors.Join(wrong, Kind("load", err, failure.NotFound))
		if err := s.a.Remove(ctx, h); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("remove of what is not there: %w", err))
		}
		if wrong != nil {
			return fmt.Errorf("%s: %w", h, wrong)
		}
	}
	return nil
}

func invalid(ctx context.Context, s two) error {
	name := Make(blob.Pack, 1, 1).Handle.Name
	for _, h := range []blob.Handle{{}, {Type: 99, Name: name}, {Type: blob.Pack}, {Type: blob.Pack, Name: "../" + name},
		{Type: blob.Key, Name: "abc"}, {Type: blob.Key, Name: strings.ToUpper(name)}, {Type: blob.Config, Name: name},
		{Type: blob.Lock, Name: name + "0"}, {Type: blob.Lock, Name: name[:62] + "/."}} {
		_, statErr := s.a.Stat(ctx, h)
		_, loadErr := s.a.Load(ctx, h, 0, blob.ToEnd)
		err := errors.Join(
			Kind("save", s.a.Save(ctx, h, bytes.NewReader(nil)), failure.Invalid), Kind("stat", statErr, failure.Invalid),
			Kind("load", loadErr, failure.Invalid), Kind("remove", s.a.Remove(ctx, h), failure.Invalid))
		if err != nil {
			return fmt.Errorf("%q: %w", h, err)
		}
	}
	o := Make(blob.Pack, 1, 10)
	if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		return err
	}
	for _, r := range [][2]int64{{-1, 5}, {0, 0}, {0, -2}, {-1, blob.ToEnd}} {
		_, err := s.a.Load(ctx, o.Handle, r[0], r[1])
		if err := Kind(fmt.Sprintf("load of %v", r), err, failure.Invalid); err != nil {
			return err
		}
	}
	return Kind("list of no type", s.a.List(ctx, 99, func(blob.Info) error { return nil }), failure.Invalid)
}

// wrongName holds that content without its name is taken whole or not at all.
func wrongName(ctx context.Context, s two) error {
	o := Object{Make(blob.Pack, 1, 100).Handle, Make(blob.Pack, 2, 100).Bytes}
	err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes))
	if err == nil {
		return holds(ctx, s.b, o)
	}
	_, statErr := s.b.Stat(ctx, o.Handle)
	return errors.Join(Kind("save", err, failure.Corrupt), Kind("stat of what was refused", statErr, failure.NotFound))
}
