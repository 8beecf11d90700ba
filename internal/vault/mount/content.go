//go:build linux || darwin || freebsd

package mount

import (
	"bytes"
	"context"
	"math/bits"
	"sort"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	// Read-ahead begins with the third read in a row, and doubles up to the most.
	aheadFirst = 1 << 20
	aheadMost  = 16 << 20
	// inOrder is how far from where the last read ended the next one may begin to count as in order: the kernel sends
	// several at once.
	inOrder = 1 << 20
	// aheads is how many read-aheads are under way at once, in the whole mount.
	aheads = 3
)

// blobs loads and keeps the blobs of files.
type blobs struct {
	fs     *fileSystem
	cache  *cache[[]byte]
	aheads chan struct{} // a place for each read-ahead under way

	mu    sync.Mutex
	zeros map[uint32]object.ID // by length: the id of that many zero bytes
}

// get gives one blob, which is not to be changed.
func (b *blobs) get(ctx context.Context, id object.ID) ([]byte, error) {
	s, mine := b.cache.claim(id)
	if mine {
		// The load goes on when this reader gives up: others may wait for it.
		b.fs.work.Go(func() {
			data, err := b.fs.load(b.fs.ctx, object.Handle{Type: object.Data, ID: id})
			b.cache.fill(s, data, int64(len(data)), err)
		})
	}
	return s.wait(ctx)
}

// ahead begins to load blobs that will be asked for, with few requests. It reports whether it does: not when enough is
// being loaded.
func (b *blobs) ahead(ids []object.ID) bool {
	select {
	case b.aheads <- struct{}{}:
	default:
		return false
	}
	claimed := map[object.ID]*slot[[]byte]{}
	var handles []object.Handle
	for _, id := range ids {
		if s, mine := b.cache.claim(id); mine {
			claimed[id] = s
			handles = append(handles, object.Handle{Type: object.Data, ID: id})
		}
	}
	b.fs.work.Go(func() {
		defer func() { <-b.aheads }()
		var mu sync.Mutex
		err := b.fs.v.LoadBlobs(b.fs.ctx, handles, func(h object.Handle, data []byte, err error) error {
			mu.Lock()
			s := claimed[h.ID]
			delete(claimed, h.ID)
			mu.Unlock()
			b.cache.fill(s, bytes.Clone(data), int64(len(data)), err)
			return nil
		})
		if err == nil {
			err = failure.New(failure.Internal, "read ahead", "", "a blob was passed over")
		}
		for _, s := range claimed {
			b.cache.fill(s, nil, 0, err)
		}
	})
	return true
}

// zero reports whether id is the hash of n zero bytes, as holes of sparse files and images are. It is only asked where
// the answer is likely yes, since finding out takes hashing them once.
func (b *blobs) zero(id object.ID, n uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, there := b.zeros[n]
	if !there {
		known = object.Hash(make([]byte, n))
		b.zeros[n] = known
	}
	return known == id
}

// content is what an open file reads from.
type content struct {
	b    *blobs
	ids  []object.ID
	ends []int64 // ends[i] is where ids[i] ends

	mu    sync.Mutex
	next  int64 // where the last read ended
	row   int   // how many reads came in order
	depth int64 // how far to read ahead
	done  int   // blobs before this one were asked for ahead
}

// newContent prepares to read a file; only the index is needed for that.
func newContent(ctx context.Context, b *blobs, n *tree.Node) (*content, error) {
	c := &content{b: b, ids: n.Content, ends: make([]int64, len(n.Content))}
	end := int64(0)
	for i, id := range n.Content {
		size, err := b.fs.v.BlobSize(ctx, object.Handle{Type: object.Data, ID: id})
		if err != nil {
			return nil, err
		}
		end += int64(size)
		c.ends[i] = end
	}
	if uint64(end) != n.Size {
		b.fs.log.WarnContext(ctx, "a file's content is not as long as the file is said to be", "name", n.Name, "said", n.Size, "has", end)
	}
	return c, nil
}

func (c *content) start(i int) int64 {
	if i == 0 {
		return 0
	}
	return c.ends[i-1]
}

// blobAt is the number of the blob that has the byte at off.
func (c *content) blobAt(off int64) int {
	return sort.Search(len(c.ends), func(i int) bool { return c.ends[i] > off })
}

// hole reports whether blob i is known to be all zero without loading it: it is as long as fixed blocks and holes are,
// or the same as its neighbour, and has the hash of zeros.
func (c *content) hole(i int) bool {
	n := c.ends[i] - c.start(i)
	likely := bits.OnesCount64(uint64(n)) == 1 || i > 0 && c.ids[i-1] == c.ids[i] || i+1 < len(c.ids) && c.ids[i+1] == c.ids[i]
	return likely && n <= 64<<20 && c.b.zero(c.ids[i], uint32(n))
}

// read fills p from off on as far as the file goes, loading only the blobs that are needed for it.
func (c *content) read(ctx context.Context, p []byte, off int64) (int, error) {
	n, i := 0, c.blobAt(off)
	c.readAhead(off, int64(len(p)), i)
	for ; n < len(p) && i < len(c.ids); i++ {
		from := off - c.start(i)
		if c.hole(i) {
			length := min(c.ends[i]-off, int64(len(p)-n))
			clear(p[n : n+int(length)])
			n += int(length)
		} else {
			data, err := c.b.get(ctx, c.ids[i])
			if err != nil {
				return n, err
			}
			if int64(len(data)) != c.ends[i]-c.start(i) {
				return n, failure.New(failure.Corrupt, "read", c.ids[i].Short(), "the blob has %d bytes, its index says %d", len(data), c.ends[i]-c.start(i))
			}
			n += copy(p[n:], data[from:])
		}
		off = c.ends[i]
	}
	return n, nil
}

// readAhead notes a read of n bytes at off, which begins in blob i, and loads what comes next when reads come in order.
func (c *content) readAhead(off, n int64, i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if off < c.next-inOrder || off > c.next+inOrder {
		c.next, c.row, c.depth, c.done = 0, 0, 0, 0
	}
	c.row++
	c.next = max(c.next, off+n)
	if c.row < 3 {
		return
	}
	last := c.blobAt(c.next - 1)
	first := max(last+1, c.done)
	if first >= len(c.ids) || first == c.done && c.start(first)-c.next > c.depth/2 {
		return // enough is ahead
	}
	c.depth = min(max(aheadFirst, 2*c.depth), aheadMost)
	var ids []object.ID
	j := first
	for ; j < len(c.ids) && c.start(j) < c.next+c.depth; j++ {
		if !c.hole(j) {
			ids = append(ids, c.ids[j])
		}
	}
	if len(ids) == 0 || c.b.ahead(ids) {
		c.done = j
	}
}

// seek finds the next data or hole from off on, or reports that there is none: the end of a file counts as a hole.
func (c *content) seek(off int64, hole bool) (int64, bool) {
	if len(c.ends) == 0 || off >= c.ends[len(c.ends)-1] {
		return 0, false
	}
	for i := c.blobAt(off); i < len(c.ids); i++ {
		if c.hole(i) == hole {
			return max(off, c.start(i)), true
		}
	}
	return c.ends[len(c.ends)-1], hole
}
