package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// errContent is what a content of these checks breaks with.
var errContent = errors.New("the source is gone")

// breaking is content that cannot be read from an offset on.
type breaking struct {
	*bytes.Reader
	at  int64
	err error
}

func (b breaking) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= b.at {
		return b.Reader.ReadAt(p, off)
	}
	n := 0
	if off < b.at {
		n, _ = b.Reader.ReadAt(p[:b.at-off], off)
	}
	return n, b.err
}

// brokenContent holds that a source that breaks leaves nothing.
func brokenContent(ctx context.Context, s two) error {
	for i, cause := range []error{errContent, io.EOF} {
		o := Make(blob.Pack, uint64(i), 200_000)
		err := s.a.Save(ctx, o.Handle, breaking{bytes.NewReader(o.Bytes), 150_000, cause})
		if err == nil {
			return fmt.Errorf("content that breaks with %q is saved", cause)
		}
		_, err = s.b.Stat(ctx, o.Handle)
		if err := errors.Join(Kind("stat", err, failure.NotFound), lists(ctx, s.b, nil)); err != nil {
			return err
		}
	}
	o := Make(blob.Pack, 0, 200_000)
	if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		return fmt.Errorf("save after one that broke: %w", err)
	}
	return holds(ctx, s.b, o)
}

func canceled(parent context.Context, s two) error {
	o, other := Make(blob.Pack, 1, 1000), Make(blob.Pack, 2, 1000)
	if err := s.a.Save(parent, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(parent)
	cancel()
	_, statErr := s.a.Stat(ctx, o.Handle)
	f, loadErr := s.a.Load(ctx, o.Handle, 0, blob.ToEnd)
	if loadErr == nil {
		f.Close()
	}
	wrong := errors.Join(
		Kind("stat", statErr, failure.Canceled), Kind("load", loadErr, failure.Canceled),
		Kind("save", s.a.Save(ctx, other.Handle, bytes.NewReader(other.Bytes)), failure.Canceled),
		Kind("remove", s.a.Remove(ctx, o.Handle), failure.Canceled),
		Kind("list", s.a.List(ctx, blob.Pack, func(blob.Info) error { return nil }), failure.Canceled),
	)
	return errors.Join(wrong, lists(parent, s.b, map[blob.Handle]int64{o.Handle: 1000}))
}

func canceledReading(parent context.Context, s two) error {
	o := Make(blob.Pack, 1, 4<<20)
	if err := s.a.Save(parent, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	f, err := s.a.Load(ctx, o.Handle, 0, blob.ToEnd)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(f, head); err != nil {
		return err
	}
	cancel()
	rest, err := io.ReadAll(f)
	if err == nil { // it was all on its way
		return errorf(len(rest)+len(head) != len(o.Bytes), "a canceled load ends after %d of %d bytes without an error", len(rest)+len(head), len(o.Bytes))
	}
	return Kind("read", err, failure.Canceled)
}

func closedEarly(ctx context.Context, s two) error {
	o := Make(blob.Pack, 1, 4<<20)
	if err := s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		return err
	}
	for range 2*s.a.Facts().MaxParallel + 2 { // more than could be open at once if closing gave nothing back
		f, err := s.a.Load(ctx, o.Handle, 5, blob.ToEnd)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(f, make([]byte, 10)); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return holds(ctx, s.a, o)
}

// halting is content that stops in its middle until it is let go.
type halting struct {
	*bytes.Reader
	once    *sync.Once
	reached chan struct{}
	goOn    chan struct{}
}

func (h halting) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > h.Size()/2 {
		h.once.Do(func() { close(h.reached) })
		<-h.goOn
	}
	return h.Reader.ReadAt(p, off)
}

// noHalf looks while a Save stands still in the middle of its content.
func noHalf(ctx context.Context, s two) error {
	o := Make(blob.Pack, 1, 2<<20)
	content := halting{bytes.NewReader(o.Bytes), &sync.Once{}, make(chan struct{}), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- s.a.Save(ctx, o.Handle, content) }()
	var wrong error
	select {
	case <-content.reached:
		_, statErr := s.b.Stat(ctx, o.Handle)
		f, loadErr := s.b.Load(ctx, o.Handle, 0, 10)
		if loadErr == nil {
			f.Close()
		}
		wrong = errors.Join(Kind("stat", statErr, failure.NotFound), Kind("load", loadErr, failure.NotFound), lists(ctx, s.b, nil))
		close(content.goOn)
	case err := <-done:
		return fmt.Errorf("save ends before it has read its content: %w", err)
	}
	if err := <-done; err != nil {
		return errors.Join(wrong, err)
	}
	return errors.Join(wrong, holds(ctx, s.b, o))
}

// oneOfMany holds that of several who create one object at once the promised number succeeds.
func oneOfMany(ctx context.Context, s two) error {
	const many = 8
	for round := range 4 {
		o := Make(blob.Snapshot, uint64(round), 10_000)
		var won atomic.Int32
		wrong := make([]error, many)
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				store := s.a
				if i%2 == 1 {
					store = s.b
				}
				switch err := store.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); {
				case err == nil:
					won.Add(1)
				default:
					wrong[i] = Kind("save", err, failure.Exists)
				}
			})
		}
		all.Wait()
		n := won.Load()
		if err := errors.Join(errors.Join(wrong...),
			errorf(n == 0, "nobody creates it"),
			errorf(n > 1 && s.a.Facts().AtomicCreate, "%d of %d create it, and the facts promise one", n, many),
			holds(ctx, s.b, o)); err != nil {
			return err
		}
	}
	return nil
}

func manyAtOnce(ctx context.Context, s two) error {
	const many = 24
	wrong := make([]error, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			o := Make(blob.Pack, uint64(i), 50_000+i)
			if wrong[i] = s.a.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)); wrong[i] != nil {
				return
			}
			if wrong[i] = holds(ctx, s.b, o); wrong[i] == nil && i%2 == 0 {
				wrong[i] = s.b.Remove(ctx, o.Handle)
			}
		})
	}
	all.Wait()
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	left, err := Listed(ctx, s.a, blob.Pack)
	return errors.Join(err, errorf(len(left) != many/2, "%d are left, want %d", len(left), many/2))
}
