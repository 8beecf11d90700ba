package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// An image is a directory of restic's format, so that restic restores it:
//
//	image.json               {"version":1,"size":…,"block":…,"segment":…}
//	0000000000000000/data    the first segment's bytes; the directory is its offset in hexadecimal
//	0000000040000000/data    the second's
//
// One file would have its whole list of blobs in one tree, written anew by each snapshot; so only segments that changed
// are written.
const (
	imageFacts   = "image.json"
	imageData    = "data"
	imageVersion = 1

	// DefaultSegment is how much of an image is one file: 4,096 blocks of the default size, which are 270 KB of tree.
	DefaultSegment = 1 << 30
	// maxSegments bounds what an image's facts can make a reader do.
	maxSegments = 1 << 20
)

// ImageOptions say how an image is cut and what is known of it.
type ImageOptions struct {
	Block   int   // bytes; 0: DefaultBlock
	Segment int64 // bytes, a multiple of Block; 0: DefaultSegment
	// Parent is an earlier state of the same image (the tree that SaveImage gave); zero: none. It is used when it was cut
	// alike, and ignored otherwise.
	Parent object.ID
	// Unchanged lists what has not changed since Parent and need not be read: sorted, apart from each other.
	Unchanged []Range
	// Time is when the image was as it is stored; it becomes the files' times.
	Time time.Time
}

// facts is image.json.
type facts struct {
	Version int   `json:"version"`
	Size    int64 `json:"size"`
	Block   int   `json:"block"`
	Segment int64 `json:"segment"`
}

func (f facts) check() error {
	if f.Version != imageVersion {
		return failure.New(failure.Unsupported, "read an image", "", "it has version %d", f.Version)
	}
	if f.Size < 0 || f.Block <= 0 || f.Block > maxBlob || f.Segment <= 0 || f.Segment%int64(f.Block) != 0 || f.Size/f.Segment >= maxSegments {
		return failure.New(failure.Invalid, "read an image", "", "%d bytes in segments of %d and blocks of %d cannot be", f.Size, f.Segment, f.Block)
	}
	return nil
}

func segmentName(off int64) string { return fmt.Sprintf("%016x", off) }

// SaveImage stores size bytes of src as an image and gives its tree, to be a directory's Subtree. Segments that are
// wholly unchanged are taken over without looking at their blocks.
func (s *Session) SaveImage(ctx context.Context, src io.ReaderAt, size int64, o ImageOptions) (object.ID, error) {
	f := facts{imageVersion, size, o.Block, o.Segment}
	if f.Block == 0 {
		f.Block = DefaultBlock
	}
	if f.Segment == 0 {
		f.Segment = DefaultSegment
	}
	if err := f.check(); err != nil {
		return object.ID{}, failure.WrapAs(failure.Invalid, err, "save an image", "")
	}
	parent, err := s.parentImage(ctx, o.Parent, f)
	if err != nil {
		return object.ID{}, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return object.ID{}, failure.WrapAs(failure.Internal, err, "save an image", "")
	}
	id, err := s.SaveBlob(ctx, object.Data, text)
	if err != nil {
		return object.ID{}, err
	}
	root := tree.Tree{Nodes: []tree.Node{imageFile(imageFacts, Content{[]object.ID{id}, uint64(len(text))}, o.Time)}}
	for off := int64(0); off < size; off += f.Segment {
		n := min(f.Segment, size-off)
		sub, err := s.saveSegment(ctx, src, off, n, f, parent, o)
		if err != nil {
			return object.ID{}, failure.Wrap(err, "save an image", "segment "+segmentName(off))
		}
		root.Nodes = append(root.Nodes, tree.Node{Name: segmentName(off), Type: tree.Dir, Mode: fs.ModeDir | 0o700,
			ModTime: o.Time, AccessTime: o.Time, ChangeTime: o.Time, Subtree: &sub})
	}
	return s.SaveTree(ctx, &root)
}

func imageFile(name string, c Content, at time.Time) tree.Node {
	return tree.Node{Name: name, Type: tree.File, Mode: 0o600, ModTime: at, AccessTime: at, ChangeTime: at, Links: 1,
		Size: c.Size, Content: c.Blobs}
}

// parentImage loads the parent, or gives nil when there is none that is cut alike.
func (s *Session) parentImage(ctx context.Context, id object.ID, f facts) (*Image, error) {
	if id.IsZero() {
		return nil, nil
	}
	p, err := s.v.OpenImage(ctx, id)
	if err != nil {
		if damage(err) {
			s.v.opts.Log.WarnContext(ctx, "the image's parent cannot be used: all of it is read", "vault", s.v.Location(), "error", err)
			return nil, nil
		}
		return nil, err
	}
	if p.facts.Block != f.Block || p.facts.Segment != f.Segment {
		return nil, nil
	}
	return p, nil
}

// saveSegment stores one segment and gives its tree.
func (s *Session) saveSegment(ctx context.Context, src io.ReaderAt, off, n int64, f facts, parent *Image, o ImageOptions) (object.ID, error) {
	fixed := FixedOptions{Block: f.Block}
	if parent != nil {
		if old, ok := parent.segments[off]; ok {
			content, err := parent.content(ctx, old)
			if err != nil && !damage(err) {
				return object.ID{}, err
			}
			if err == nil {
				fixed.Parent = content
				fixed.Unchanged = within(o.Unchanged, off, n)
			}
			whole := slices.Equal(fixed.Unchanged, []Range{{0, n}})
			if whole && int64(content.Size) == n && s.allStored(content) {
				s.countKnown(len(content.Blobs), n)
				return old, nil
			}
		}
	}
	content, err := s.SaveFixed(ctx, io.NewSectionReader(src, off, n), n, fixed)
	if err != nil {
		return object.ID{}, err
	}
	return s.SaveTree(ctx, &tree.Tree{Nodes: []tree.Node{imageFile(imageData, content, o.Time)}})
}

// within cuts ranges to the n bytes from off on, and counts them from there.
func within(ranges []Range, off, n int64) []Range {
	var in []Range
	for _, r := range ranges {
		start, end := max(r.Start-off, 0), min(r.End-off, n)
		if start >= end {
			continue
		}
		if last := len(in) - 1; last >= 0 && in[last].End == start {
			in[last].End = end // adjoining ranges are one
			continue
		}
		in = append(in, Range{start, end})
	}
	return in
}

func (s *Session) allStored(c Content) bool {
	return !slices.ContainsFunc(c.Blobs, func(id object.ID) bool { return !s.v.has(object.Handle{Type: object.Data, ID: id}) })
}

func (s *Session) countKnown(blobs int, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Known += blobs
	s.stats.KnownBytes += n
}

// Image is a stored image, opened for reading. It may be used by several goroutines at once.
type Image struct {
	v        *Vault
	facts    facts
	segments map[int64]object.ID // offset to tree

	mu     sync.Mutex
	recent *File // the segment that was read last
	at     int64 // its offset
}

// OpenImage prepares to read what SaveImage stored.
func (v *Vault) OpenImage(ctx context.Context, id object.ID) (*Image, error) {
	t, err := v.Tree(ctx, id)
	if err != nil {
		return nil, err
	}
	m := &Image{v: v, segments: map[int64]object.ID{}}
	about := t.Find(imageFacts)
	if about == nil || about.Type != tree.File || about.Size > 1<<16 {
		return nil, failure.New(failure.Invalid, "open an image", id.Short(), "the directory has no %s", imageFacts)
	}
	file, err := v.OpenFile(ctx, about.Content)
	if err != nil {
		return nil, err
	}
	text := make([]byte, min(file.Size(), 1<<16))
	if _, err := file.ReadAt(ctx, text, 0); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &m.facts); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "open an image", id.Short())
	}
	if err := m.facts.check(); err != nil {
		return nil, err
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if off, err := strconv.ParseInt(n.Name, 16, 64); err == nil && n.Name == segmentName(off) && n.Type == tree.Dir && n.Subtree != nil {
			m.segments[off] = *n.Subtree
		}
	}
	for off := int64(0); off < m.facts.Size; off += m.facts.Segment {
		if _, there := m.segments[off]; !there {
			return nil, failure.New(failure.Corrupt, "open an image", id.Short(), "the segment %s is missing", segmentName(off))
		}
	}
	return m, nil
}

// Size is the length of the image, in bytes.
func (m *Image) Size() int64 { return m.facts.Size }

// content gives what a segment is made of.
func (m *Image) content(ctx context.Context, id object.ID) (Content, error) {
	t, err := m.v.Tree(ctx, id)
	if err != nil {
		return Content{}, err
	}
	n := t.Find(imageData)
	if n == nil || n.Type != tree.File {
		return Content{}, failure.New(failure.Corrupt, "read an image", id.Short(), "a segment has no %s", imageData)
	}
	return Content{n.Content, n.Size}, nil
}

// segment opens the file of the segment at off.
func (m *Image) segment(ctx context.Context, off int64) (*File, error) {
	c, err := m.content(ctx, m.segments[off])
	if err != nil {
		return nil, err
	}
	f, err := m.v.OpenFile(ctx, c.Blobs)
	if err != nil {
		return nil, err
	}
	if want := min(m.facts.Segment, m.facts.Size-off); f.Size() != want {
		return nil, failure.New(failure.Corrupt, "read an image", segmentName(off), "the segment has %d bytes instead of %d", f.Size(), want)
	}
	return f, nil
}

// opened is segment, kept for the next read, which mostly is of the same one.
func (m *Image) opened(ctx context.Context, off int64) (*File, error) {
	m.mu.Lock()
	f, at := m.recent, m.at
	m.mu.Unlock()
	if f != nil && at == off {
		return f, nil
	}
	f, err := m.segment(ctx, off)
	if err == nil {
		m.mu.Lock()
		m.recent, m.at = f, off
		m.mu.Unlock()
	}
	return f, err
}

// ReadAt reads like io.ReaderAt: it fills p, and gives io.EOF when the image ends before.
func (m *Image) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, failure.New(failure.Invalid, "read an image", "", "the offset %d is negative", off)
	}
	n := 0
	for n < len(p) && off < m.facts.Size {
		start := off - off%m.facts.Segment
		f, err := m.opened(ctx, start)
		if err != nil {
			return n, err
		}
		part := p[n:min(int64(len(p)), int64(n)+start+f.Size()-off)]
		got, err := f.ReadAt(ctx, part, off-start)
		n += got
		off += int64(got)
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// CopyTo writes the whole image to w, in order, and gives how many bytes were written.
func (m *Image) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	written := int64(0)
	for off := int64(0); off < m.facts.Size; off += m.facts.Segment {
		f, err := m.segment(ctx, off)
		if err != nil {
			return written, err
		}
		n, err := f.CopyTo(ctx, w)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
