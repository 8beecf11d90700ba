package archiver

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	// oneBlob is the size up to which a file is one blob, whatever is in it: restic's smallest chunk.
	oneBlob = 512 << 10
	// rereads is how often a file that changed while it was read is read again, if it has at most rereadSize bytes.
	rereads    = 2
	rereadSize = 64 << 20
)

// file stores a regular file.
func (r *run) file(ctx context.Context, at spot, s *fsnode.Stat, prev *tree.Node) (*tree.Node, error) {
	if prev != nil && !r.changed(s, prev) {
		if r.s.Has(object.Data, prev.Content...) {
			n, err := r.node(at, s)
			if n == nil || err != nil {
				return nil, err
			}
			n.Content = prev.Content
			r.count.read.Add(n.Size)
			r.stored(n, Unchanged)
			r.tell(at, Item{Action: Unchanged, Size: n.Size})
			if equal(n, prev) {
				return prev, nil
			}
			return n, nil
		}
		err := failure.New(failure.Corrupt, "compare with the parent snapshot", at.real(), "parts of it are not in the vault any more: it is stored again").
			WithHint("run: lifeboat vault check")
		if err := r.report(at.real(), err); err != nil {
			return nil, err
		}
	}
	n, err := r.fresh(ctx, at)
	if n == nil || err != nil {
		return nil, err
	}
	n, what := against(n, prev)
	r.stored(n, what)
	r.tell(at, Item{Action: what, Size: n.Size})
	return n, nil
}

// against compares a node with the former one, and gives that when they are equal.
func against(n, prev *tree.Node) (*tree.Node, Action) {
	switch {
	case prev == nil:
		return n, New
	case equal(n, prev):
		return prev, Unchanged
	}
	return n, Changed
}

// stored counts a file that is in the tree.
func (r *run) stored(n *tree.Node, what Action) {
	count(&r.count.files, what)
	r.count.done.Add(1)
	r.count.processed.Add(n.Size)
}

// fresh reads a file, and gives its node, or nil when it could not be read.
func (r *run) fresh(ctx context.Context, at spot) (*tree.Node, error) {
	real := at.real()
	f, err := at.d.Open(at.name)
	if err != nil {
		return nil, r.report(real, err)
	}
	defer f.Close()
	for try := 0; ; try++ {
		var s, after fsnode.Stat
		if err := f.Stat(&s); err != nil {
			return nil, r.report(real, err)
		}
		if s.Type() != tree.File {
			return nil, r.report(real, failure.New(failure.Conflict, "back up", real, "it was a file, and is a %s now", s.Type()))
		}
		c, linked := r.links.known(&s)
		if linked {
			r.count.read.Add(c.Size)
		} else {
			var source error
			if c, source, err = r.content(ctx, f, real, &s); err != nil {
				return nil, err
			}
			if errors.Is(source, failure.Conflict) && try < rereads {
				continue
			}
			if source != nil {
				return nil, r.report(real, source)
			}
		}
		if err := f.Stat(&after); err != nil {
			return nil, r.report(real, err)
		}
		whole := s.Size() == after.Size() && s.ModTime().Equal(after.ModTime())
		if !whole && try < rereads && s.Size() <= rereadSize {
			r.count.read.Add(-c.Size)
			continue
		}
		if !whole {
			err := failure.New(failure.Conflict, "back up", real, "it changed while it was read: what is stored may never have been there at any one time").
				WithHint("stop what writes to it meanwhile, or back up a snapshot of its file system")
			if err := r.report(real, err); err != nil {
				return nil, err
			}
		} else {
			r.links.remember(&s, c)
		}
		n, err := r.node(at, &s)
		if n == nil || err != nil {
			return nil, err
		}
		n.Content, n.Size = c.Blobs, c.Size // what was read, also when the size was another before
		return n, nil
	}
}

// content stores what is in a file. An error of the file comes as source: it concerns nothing else.
func (r *run) content(ctx context.Context, f *fsnode.File, real string, s *fsnode.Stat) (c vault.Content, source, err error) {
	if s.Size() <= oneBlob {
		c, whole, source, err := r.smallFile(ctx, f, s.Size())
		if whole || source != nil || err != nil {
			return c, source, err
		}
	}
	select {
	case r.big <- struct{}{}:
		defer func() { <-r.big }()
	case <-ctx.Done():
		return vault.Content{}, nil, failure.Wrap(ctx.Err(), "back up", real)
	}
	defer r.count.current.begin(real)()
	in := &input{ReaderAt: f, run: r}
	if s.Size() > 0 && r.fixed.Match(real) {
		c, err = r.s.SaveFixed(ctx, in, s.Size(), vault.FixedOptions{})
	} else if data, ok := parts(f, s); ok {
		if c, err = r.s.SaveSparse(ctx, in, s.Size(), data); err == nil {
			r.count.read.Add(c.Size - in.read.Load())
		}
	} else {
		// A file that grows is taken as long as it was: it may grow faster than it is read. One of the kernel's has no size.
		end := s.Size()
		if end == 0 {
			end = math.MaxInt64
		}
		c, err = r.s.SaveStream(ctx, io.NewSectionReader(in, 0, end))
		in.short.Store(false) // that shows in the size
	}
	switch {
	case in.failed.Load() != nil:
		return vault.Content{}, *in.failed.Load(), nil
	case err != nil && in.short.Load():
		return vault.Content{}, failure.New(failure.Conflict, "back up", real, "it became shorter while it was read"), nil
	}
	return c, nil, err
}

// parts gives the ranges of a file that are not in holes, if it has some worth the trouble.
func parts(f *fsnode.File, s *fsnode.Stat) ([]vault.Range, bool) {
	if s.Size()-s.Allocated() < oneBlob {
		return nil, false
	}
	data := []vault.Range{}
	for off := int64(0); off < s.Size(); {
		start, end, err := f.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil || start < off || end <= start {
			return nil, false // reading all of it is always right
		}
		if start < s.Size() {
			data = append(data, vault.Range{Start: start, End: min(end, s.Size())})
		}
		off = end
	}
	return data, true
}

// smallFile stores a file as one blob, unless it turns out to be larger.
func (r *run) smallFile(ctx context.Context, f *fsnode.File, size int64) (c vault.Content, whole bool, source, err error) {
	p, _ := r.small.Get().(*[]byte)
	if p == nil {
		p = new([]byte)
		*p = make([]byte, oneBlob+1)
	}
	defer r.small.Put(p)
	// What says that it is empty may be one of the kernel's files, which have no size. Others are read with one call.
	want := (*p)[:size+1]
	if size == 0 {
		want = *p
	}
	n, err := f.ReadOnce(want)
	if err == nil && int64(n) < size {
		var more int
		more, err = f.ReadAt(want[n:], int64(n))
		n += more
	} else if err == nil && size == 0 && n > 0 {
		var more int
		more, err = f.ReadAt(want[n:], int64(n))
		n += more
	}
	if err != nil && err != io.EOF {
		return c, false, err, nil
	}
	if n == len(want) {
		return c, false, nil, nil
	}
	r.count.read.Add(uint64(n))
	c.Size = uint64(n)
	if n == 0 {
		return c, true, nil, nil
	}
	id, err := r.s.SaveBlob(ctx, object.Data, want[:n])
	c.Blobs = []object.ID{id}
	return c, true, nil, err
}

// input is a file as a source of the vault: it counts what is read, and remembers what went wrong with it, which
// concerns that file alone.
type input struct {
	io.ReaderAt
	run    *run
	read   atomic.Uint64
	failed atomic.Pointer[error]
	short  atomic.Bool // it ended
}

// ReadAt reads like io.ReaderAt.
func (i *input) ReadAt(p []byte, off int64) (int, error) {
	n, err := i.ReaderAt.ReadAt(p, off)
	i.read.Add(uint64(n))
	i.run.count.read.Add(uint64(n))
	if err == io.EOF {
		i.short.Store(true)
	} else if err != nil {
		i.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// virtual stores a file that the caller gave.
func (r *run) virtual(ctx context.Context, v *Virtual, prev *tree.Node) (*tree.Node, error) {
	defer r.count.current.begin(v.Path)()
	c, err := r.s.SaveStream(ctx, counted{v.Content, r})
	if err != nil {
		return nil, failure.Wrap(err, "back up", v.Path)
	}
	mode := v.Mode
	if mode == 0 {
		mode = 0o644
	}
	names := components(v.Path)
	n := r.own(tree.Node{Name: names[len(names)-1], Type: tree.File, Mode: mode, Content: c.Blobs, Size: c.Size}, r.timeOf(v))
	n, what := against(n, prev)
	r.stored(n, what)
	if r.o.Item != nil {
		r.tellItem(Item{Path: v.Path, Action: what, Size: n.Size})
	}
	return n, nil
}

// own completes a node that is not in the file system.
func (r *run) own(n tree.Node, at time.Time) *tree.Node {
	n.ModTime, n.AccessTime, n.ChangeTime = at, at, at
	n.UID, n.GID = uint32(os.Getuid()), uint32(os.Getgid())
	return &n
}

// counted counts what is read.
type counted struct {
	io.Reader
	run *run
}

// Read reads like io.Reader.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.run.count.read.Add(uint64(n))
	return n, err
}

// hardLinks remembers the content of large files that have several names, so that each is read once. Of small ones there
// may be millions.
type hardLinks struct {
	mu    sync.Mutex
	files map[inode]link
}

type inode struct{ device, number uint64 }

type link struct {
	content vault.Content
	mtime   time.Time
	ctime   time.Time
}

func (h *hardLinks) known(s *fsnode.Stat) (vault.Content, bool) {
	if s.Links() < 2 || s.Size() <= oneBlob {
		return vault.Content{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := h.files[inode{s.Device(), s.Inode()}]
	return l.content, ok && l.mtime.Equal(s.ModTime()) && l.ctime.Equal(s.ChangeTime()) && l.content.Size == uint64(s.Size())
}

func (h *hardLinks) remember(s *fsnode.Stat, c vault.Content) {
	if s.Links() < 2 || s.Size() <= oneBlob {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files == nil {
		h.files = map[inode]link{}
	}
	h.files[inode{s.Device(), s.Inode()}] = link{c, s.ModTime(), s.ChangeTime()}
}
