package blobtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
)

// bent is a memory store, of whose methods a test replaces some.
type bent struct {
	*memory.Store
	save   func(ctx context.Context, h blob.Handle, c blob.Content) error
	load   func(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error)
	stat   func(ctx context.Context, h blob.Handle) (blob.Info, error)
	list   func(ctx context.Context, t blob.Type, each func(blob.Info) error) error
	remove func(ctx context.Context, h blob.Handle) error
	facts  func() blob.Facts
}

func (b *bent) Save(ctx context.Context, h blob.Handle, c blob.Content) error {
	if b.save != nil {
		return b.save(ctx, h, c)
	}
	return b.Store.Save(ctx, h, c)
}

func (b *bent) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if b.load != nil {
		return b.load(ctx, h, offset, length)
	}
	return b.Store.Load(ctx, h, offset, length)
}

func (b *bent) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if b.stat != nil {
		return b.stat(ctx, h)
	}
	return b.Store.Stat(ctx, h)
}

func (b *bent) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	if b.list != nil {
		return b.list(ctx, t, each)
	}
	return b.Store.List(ctx, t, each)
}

func (b *bent) Remove(ctx context.Context, h blob.Handle) error {
	if b.remove != nil {
		return b.remove(ctx, h)
	}
	return b.Store.Remove(ctx, h)
}

func (b *bent) Facts() blob.Facts {
	if b.facts != nil {
		return b.facts()
	}
	return b.Store.Facts()
}

// faults are stores that break one promise each, by the check that must say so. They hold no name to its content, so
// that each fault is seen by the check that is for it.
var faults = []struct {
	name, check string
	bend        func(*bent)
}{
	{"replaces what is there", "write once", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			if h.Valid() {
				if err := b.Store.Remove(ctx, h); err != nil {
					return err
				}
			}
			return b.Store.Save(ctx, h, c)
		}
	}},
	{"says nothing of what is there", "write once", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			err := b.Store.Save(ctx, h, c)
			if errors.Is(err, failure.Exists) {
				return nil
			}
			return err
		}
	}},
	{"looks before it creates", "one of many creates", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			err := b.Store.Save(ctx, h, c)
			if errors.Is(err, failure.Exists) && h.Type == blob.Snapshot {
				return nil // as if both had looked first
			}
			return err
		}
	}},
	{"shows an object before it is whole", "no half is seen", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			if !h.Valid() || h.Type != blob.Pack || c.Size() == 0 {
				return b.Store.Save(ctx, h, c)
			}
			half := make([]byte, 1)
			if _, err := c.ReadAt(half, 0); err != nil {
				return err
			}
			o := blobtest.Name(blob.Snapshot, half)
			if err := b.Store.Save(ctx, o.Handle, bytes.NewReader(half)); err != nil && !errors.Is(err, failure.Exists) {
				return err
			}
			return b.Store.Save(ctx, h, c)
		}
	}},
	{"forgets the last byte", "round trip", func(b *bent) {
		b.load = func(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
			r, err := b.Store.Load(ctx, h, offset, length)
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(r)
			return io.NopCloser(bytes.NewReader(text[:max(len(text)-1, 0)])), err
		}
	}},
	{"is short in silence", "short objects", func(b *bent) {
		b.load = func(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
			r, err := b.Store.Load(ctx, h, offset, length)
			if errors.Is(err, failure.Corrupt) {
				return io.NopCloser(bytes.NewReader(nil)), nil
			}
			return r, err
		}
	}},
	{"ignores the offset", "ranges", func(b *bent) {
		b.load = func(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
			if length > 0 && offset > 0 {
				if r, err := b.Store.Load(ctx, h, offset, length); err != nil {
					return r, err
				}
				return b.Store.Load(ctx, h, 0, length)
			}
			return b.Store.Load(ctx, h, offset, length)
		}
	}},
	{"finds what is not there", "absent", func(b *bent) {
		b.stat = func(ctx context.Context, h blob.Handle) (blob.Info, error) {
			info, err := b.Store.Stat(ctx, h)
			if errors.Is(err, failure.NotFound) {
				return blob.Info{Handle: h}, nil
			}
			return info, err
		}
	}},
	{"has no kinds", "absent", func(b *bent) {
		b.stat = func(ctx context.Context, h blob.Handle) (blob.Info, error) {
			info, err := b.Store.Stat(ctx, h)
			if err != nil {
				return info, errors.New(err.Error())
			}
			return info, nil
		}
	}},
	{"lists no sizes", "list", func(b *bent) {
		b.list = func(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
			return b.Store.List(ctx, t, func(i blob.Info) error { return each(blob.Info{Handle: i.Handle}) })
		}
	}},
	{"lists one page", "list", func(b *bent) {
		b.list = func(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
			n := 0
			return b.Store.List(ctx, t, func(i blob.Info) error {
				if n++; n > 20 {
					return nil
				}
				return each(i)
			})
		}
	}},
	{"lists twice", "list", func(b *bent) {
		b.list = func(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
			return errors.Join(b.Store.List(ctx, t, each), b.Store.List(ctx, t, each))
		}
	}},
	{"lists on after an error", "list ends", func(b *bent) {
		b.list = func(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
			var first error
			err := b.Store.List(ctx, t, func(i blob.Info) error {
				if err := each(i); first == nil {
					first = err
				}
				return nil
			})
			return errors.Join(err, first)
		}
	}},
	{"removes nothing", "remove", func(b *bent) {
		b.remove = func(ctx context.Context, h blob.Handle) error {
			if err := h.Check("remove"); err != nil {
				return err
			}
			return ctx.Err()
		}
	}},
	{"minds removing twice", "remove", func(b *bent) {
		b.remove = func(ctx context.Context, h blob.Handle) error {
			if _, err := b.Store.Stat(ctx, h); err != nil {
				return err
			}
			return b.Store.Remove(ctx, h)
		}
	}},
	{"stores what broke", "content that breaks", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			text, err := io.ReadAll(blob.Reader(c))
			if err != nil || int64(len(text)) == c.Size() {
				return b.Store.Save(ctx, h, c)
			}
			o := blobtest.Name(h.Type, text)
			return b.Store.Save(ctx, o.Handle, bytes.NewReader(text))
		}
	}},
	{"takes any handle", "invalid", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			if !h.Valid() {
				return nil
			}
			return b.Store.Save(ctx, h, c)
		}
	}},
	{"ignores its context", "canceled", func(b *bent) {
		b.remove = func(_ context.Context, h blob.Handle) error { return b.Store.Remove(context.Background(), h) }
	}},
	{"ends in silence when canceled", "canceled while reading", func(b *bent) {
		b.load = func(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
			r, err := b.Store.Load(ctx, h, offset, length)
			if err != nil {
				return nil, err
			}
			return quiet{r}, nil
		}
	}},
	{"refuses a name for no reason", "wrong name", func(b *bent) {
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			err := b.Store.Save(ctx, h, c)
			if errors.Is(err, failure.Corrupt) {
				return failure.Internal
			}
			return err
		}
	}},
	{"cannot be created twice", "create again", nil},
	{"has facts of no use", "facts", func(b *bent) { b.facts = func() blob.Facts { return blob.Facts{} } }},
	{"gives no way back", "reader closed early", func(b *bent) {
		var mu sync.Mutex
		open := 0
		b.load = func(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
			mu.Lock()
			defer mu.Unlock()
			if open++; open > 100 {
				return nil, failure.Unavailable
			}
			return b.Store.Load(ctx, h, offset, length)
		}
	}},
	{"loses one of many", "many at once", func(b *bent) {
		var once sync.Once
		b.save = func(ctx context.Context, h blob.Handle, c blob.Content) error {
			lost := false
			if c.Size() == 50_023 {
				once.Do(func() { lost = true })
			}
			if lost {
				return nil
			}
			return b.Store.Save(ctx, h, c)
		}
	}},
	{"makes something up before it is created", "before create", func(b *bent) {
		b.stat = func(context.Context, blob.Handle) (blob.Info, error) { return blob.Info{}, nil }
	}},
}

// quiet turns every error of a reader into its end.
type quiet struct{ io.ReadCloser }

func (q quiet) Read(p []byte) (int, error) {
	n, err := q.ReadCloser.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// once is a store that can be created a single time.
type once struct {
	*bent
	made *bool
}

func (o once) Create(ctx context.Context) error {
	if *o.made {
		return failure.Exists
	}
	*o.made = true
	return o.bent.Create(ctx)
}

// TestSuiteBites shows that each fault is found by the check that is for it, and that no check is without a fault.
func TestSuiteBites(t *testing.T) {
	checks, bitten := map[string]blobtest.Check{}, map[string]bool{}
	for _, c := range blobtest.Checks() {
		checks[c.Name] = c
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			c, ok := checks[f.check]
			if !ok {
				t.Fatalf("there is no check %q", f.check)
			}
			bitten[f.check] = true
			space, made := &memory.Space{}, false
			place := func() (blob.Store, error) {
				b := &bent{Store: space.Open()}
				if f.bend == nil {
					return once{b, &made}, nil
				}
				f.bend(b)
				return b, nil
			}
			if err := c.Run(t.Context(), place); err == nil {
				t.Errorf("%q does not see it", f.check)
			} else {
				t.Log(err)
			}
		})
	}
	for name := range checks {
		if !bitten[name] {
			t.Errorf("no broken store is there for %q", name)
		}
	}
}
