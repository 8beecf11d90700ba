package vault

import (
	"context"
	"io"
	"sort"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// File reads a file's content, at any offset. It may be used by several goroutines at once.
type File struct {
	v     *Vault
	blobs []object.ID
	ends  []int64 // ends[i] is where blobs[i] ends

	mu     sync.Mutex
	recent [4]recentBlob // the last ones read; a ring
	next   int
}

type recentBlob struct {
	number int
	data   []byte
}

// OpenFile prepares to read the content of a file; nothing but the index is needed for that. NotFound: a blob is missing.
func (v *Vault) OpenFile(ctx context.Context, blobs []object.ID) (*File, error) {
	if err := v.needIndex(ctx); err != nil {
		return nil, err
	}
	f := &File{v: v, blobs: blobs, ends: make([]int64, len(blobs))}
	end := int64(0)
	for i, id := range blobs {
		h := object.Handle{Type: object.Data, ID: id}
		size, err := v.BlobSize(ctx, h)
		if err != nil {
			return nil, failure.Wrap(err, "open a file", "")
		}
		end += int64(size)
		f.ends[i] = end
	}
	return f, nil
}

// Size is the length of the content, in bytes.
func (f *File) Size() int64 {
	if len(f.ends) == 0 {
		return 0
	}
	return f.ends[len(f.ends)-1]
}

// ReadAt reads like io.ReaderAt: it fills p, and gives io.EOF when the content ends before.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, failure.New(failure.Invalid, "read a file", "", "the offset %d is negative", off)
	}
	n := 0
	i := sort.Search(len(f.ends), func(i int) bool { return f.ends[i] > off })
	for ; n < len(p) && i < len(f.blobs); i++ {
		data, err := f.blob(ctx, i)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data[off-f.start(i):])
		off = f.ends[i]
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *File) start(i int) int64 {
	if i == 0 {
		return 0
	}
	return f.ends[i-1]
}

// blob gives one of the blobs, kept from before or loaded. The slice is not to be changed.
func (f *File) blob(ctx context.Context, i int) ([]byte, error) {
	f.mu.Lock()
	for _, r := range f.recent {
		if r.data != nil && r.number == i {
			f.mu.Unlock()
			return r.data, nil
		}
	}
	f.mu.Unlock()
	data, err := f.load(ctx, i)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent[f.next] = recentBlob{i, data}
	f.next = (f.next + 1) % len(f.recent)
	return data, nil
}

func (f *File) load(ctx context.Context, i int) ([]byte, error) {
	data, err := f.v.LoadBlob(ctx, object.Handle{Type: object.Data, ID: f.blobs[i]})
	if err == nil && int64(len(data)) != f.ends[i]-f.start(i) {
		err = failure.New(failure.Corrupt, "read a file", "", "blob %s has %d bytes, its index says %d", f.blobs[i].Short(), len(data), f.ends[i]-f.start(i))
	}
	return data, err
}

// CopyTo writes the whole content to w, with several blobs loaded ahead. It gives how many bytes were written.
func (f *File) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	type loaded struct {
		data []byte
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	var loaders sync.WaitGroup
	defer loaders.Wait()
	defer cancel()
	ahead := make(chan chan loaded, f.v.parallel())
	loaders.Go(func() {
		defer close(ahead)
		for i := range f.blobs {
			one := make(chan loaded, 1)
			select {
			case ahead <- one:
			case <-ctx.Done():
				return
			}
			loaders.Go(func() {
				data, err := f.load(ctx, i)
				one <- loaded{data, err}
			})
		}
	})
	written := int64(0)
	for one := range ahead {
		l := <-one
		if l.err != nil {
			return written, l.err
		}
		n, err := w.Write(l.data)
		written += int64(n)
		if err != nil {
			return written, failure.Wrap(err, "write what was read", "")
		}
	}
	return written, failure.Wrap(ctx.Err(), "read a file", "")
}

// At gives the file as an io.ReaderAt whose reads run under ctx.
func (f *File) At(ctx context.Context) io.ReaderAt { return fileAt{ctx, f} }

type fileAt struct {
	ctx context.Context
	f   *File
}

func (r fileAt) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(r.ctx, p, off) }
