package restorer

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// treesAtOnce is how many directories are held decoded.
const treesAtOnce = 1024

// waiting is a directory of the tree that is not read yet.
type waiting struct {
	folder int32
	id     object.ID
}

// scan reads the tree, level by level, so that the directories of a level come with few requests, and fills the tables.
func (r *run) scan(ctx context.Context, root object.ID) error {
	r.litterIsOurs = true
	r.folders = []folder{{parent: none, wanted: true}}
	if r.o.Root != nil {
		r.folders[0].meta = r.apply.Meta(r.o.Root)
	}
	s := scanner{run: r, links: map[linkKey]int32{}, same: map[otherKey]int32{}}
	for level := []waiting{{0, root}}; len(level) > 0; {
		var next []waiting
		for part := range slices.Chunk(level, treesAtOnce) {
			trees, errs, err := r.loadTrees(ctx, part)
			if err != nil {
				return err
			}
			for i, w := range part {
				if errs[i] != nil && w.folder == 0 {
					return errs[i]
				}
				if errs[i] != nil {
					if err := s.unread(w.folder, errs[i]); err != nil {
						return err
					}
					continue
				}
				if next, err = s.folder(ctx, w.folder, trees[i], next); err != nil {
					return err
				}
			}
		}
		level = next
	}
	r.blobs.known = nil
	r.tell.files(len(r.files))
	r.sizes()
	return nil
}

// loadTrees loads and decodes directories. A tree that several of them have in common is decoded once.
func (r *run) loadTrees(ctx context.Context, all []waiting) ([]*tree.Tree, []error, error) {
	type loaded struct {
		t   *tree.Tree
		err error
	}
	var mu sync.Mutex
	got := make(map[object.ID]loaded, len(all))
	handles := make([]object.Handle, len(all))
	for i, w := range all {
		handles[i] = object.Handle{Type: object.Tree, ID: w.id}
	}
	err := r.v.LoadBlobs(ctx, handles, func(h object.Handle, data []byte, err error) error {
		var t *tree.Tree
		if err == nil {
			t, err = tree.Decode(data)
			err = failure.Wrap(err, "load the tree", h.ID.Short())
		}
		mu.Lock()
		defer mu.Unlock()
		got[h.ID] = loaded{t, err}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	trees, errs := make([]*tree.Tree, len(all)), make([]error, len(all))
	for i, w := range all {
		l := got[w.id]
		trees[i], errs[i] = l.t, l.err
	}
	return trees, errs, nil
}

// scanner is what only the scan needs.
type scanner struct {
	*run
	links map[linkKey]int32 // the first name of each file that has several
	same  map[otherKey]int32
}

// otherKey tells the names of what is neither a file nor a directory from those of others.
type otherKey struct {
	inode, device uint64
	typ           tree.Type
	target        string
	number        uint64
}

// linkKey tells the names of one file from those of others, as far as the tree knows.
type linkKey struct {
	inode, device uint64
	size          int64
}

// unread notes a directory whose tree cannot be had.
func (s *scanner) unread(i int32, err error) error {
	s.want(i)
	return s.tell.fail(s.path(i), err)
}

// want notes that a folder is needed, and those above it.
func (s *scanner) want(i int32) {
	for ; i >= 0 && !s.folders[i].wanted; i = s.folders[i].parent {
		s.folders[i].wanted = true
		s.tell.expect(1, 0)
	}
}

// folder takes what is in one directory into the tables, and appends the directories in it to next.
func (s *scanner) folder(ctx context.Context, at int32, t *tree.Tree, next []waiting) ([]waiting, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "read the tree", "")
	}
	var seen map[string]bool
	if t.Sorted() != nil {
		seen = make(map[string]bool, len(t.Nodes))
	}
	var names []string
	for i := range t.Nodes {
		n := &t.Nodes[i]
		err := n.Valid()
		if err == nil && seen[n.Name] {
			err = failure.New(failure.Corrupt, "read a tree", "", "the name %.80q comes twice", n.Name)
		}
		if err != nil {
			s.want(at)
			if err := s.tell.fail(s.path(at)+"/"+clean(n.Name), err); err != nil {
				return nil, err
			}
			continue
		}
		if seen != nil {
			seen[n.Name] = true
		}
		s.litterIsOurs = s.litterIsOurs && !strings.HasPrefix(n.Name, besidePrefix)
		if s.o.Delete {
			names = append(names, n.Name)
		}
		selected, below := true, true
		if s.o.Select != nil {
			selected, below = s.o.Select(s.path(at, n.Name), n.Type == tree.Dir)
		}
		if next, err = s.node(at, n, selected, below, next); err != nil {
			return nil, err
		}
		if len(s.folders)+len(s.files)+len(s.others) > s.o.MaxEntries {
			return nil, failure.New(failure.Invalid, "restore", s.o.Target, "the tree has more than %d entries", s.o.MaxEntries).
				WithHint("restore a part of it: name a folder, or use include patterns")
		}
	}
	slices.Sort(names)
	s.folders[at].names, s.folders[at].whole = names, true
	return next, nil
}

// node takes one entry into the tables.
func (s *scanner) node(at int32, n *tree.Node, selected, below bool, next []waiting) ([]waiting, error) {
	if n.Type == tree.Dir {
		if selected || below {
			i := int32(len(s.folders))
			s.folders = append(s.folders, folder{parent: at, name: n.Name, meta: s.apply.Meta(n)})
			if selected {
				s.want(i)
			}
			if below {
				next = append(next, waiting{i, *n.Subtree})
			}
		}
		return next, nil
	}
	if !selected {
		return next, nil
	}
	s.want(at)
	s.tell.expect(1, 0)
	switch n.Type {
	case tree.File:
		s.file(at, n)
	case tree.Socket:
		path := s.path(at, n.Name)
		s.tell.reduced(path, "socket", failure.New(failure.Unsupported, "restore", path, "a socket is made by the program that listens on it"))
		s.tell.settled(Item{Path: path, Type: n.Type, Action: Skipped})
	case tree.Symlink, tree.Device, tree.CharDevice, tree.Fifo:
		s.other(at, n)
	default:
		return next, s.tell.fail(s.path(at, n.Name), failure.New(failure.Unsupported, "restore", n.Name, "an entry of the type %.40q cannot be restored", n.Type))
	}
	return next, nil
}

// file takes a regular file into the tables.
func (s *scanner) file(at int32, n *tree.Node) {
	i := int32(len(s.files))
	s.files = append(s.files, file{parent: at, first: i, next: none, from: uint32(len(s.content)), n: uint32(len(n.Content)),
		name: n.Name, meta: s.apply.Meta(n), size: int64(n.Size)})
	for _, id := range n.Content {
		number, _ := s.blobs.number(id)
		s.content = append(s.content, number)
	}
	if n.Links < 2 {
		s.tell.expect(0, int64(n.Size))
		return
	}
	key := linkKey{n.Inode, n.DeviceID, int64(n.Size)}
	first, ok := s.links[key]
	if !ok {
		s.links[key] = i
		s.tell.expect(0, int64(n.Size))
		return
	}
	// Two files may share an inode's number when the file system's was not stored: content decides.
	f := &s.files[i]
	if slices.Equal(s.contentOf(&s.files[first]), s.contentOf(f)) {
		s.content = s.content[:f.from]
		f.from, f.n = s.files[first].from, s.files[first].n
		f.first, f.next = first, s.files[first].next
		s.files[first].next = i
		return
	}
	s.tell.expect(0, int64(n.Size))
}

// other takes what is neither a file nor a directory into the tables.
func (s *scanner) other(at int32, n *tree.Node) {
	i := int32(len(s.others))
	o := other{parent: at, name: n.Name, meta: s.apply.Meta(n), target: n.LinkTarget, device: n.Device, first: i, next: none, names: 1}
	if n.Links > 1 {
		key := otherKey{n.Inode, n.DeviceID, n.Type, n.LinkTarget, n.Device}
		if first, ok := s.same[key]; ok {
			o.first, o.next = first, s.others[first].next
			s.others[first].next = i
			s.others[first].names++
		} else {
			s.same[key] = i
		}
	}
	s.others = append(s.others, o)
}

// sizes asks the index for the lengths of all blobs, and compares them with what the nodes say.
func (r *run) sizes() {
	ctx := context.Background() // the index is in memory
	for i := range r.blobs.all {
		b := &r.blobs.all[i]
		if size, err := r.v.BlobSize(ctx, object.Handle{Type: object.Data, ID: b.id}); err == nil {
			b.size, b.found = size, true
		}
	}
}

// measure works out the length of a file's content. An error says why it cannot be restored as it should be; missing: nor
// any of it.
func (r *run) measure(f *file) (missing bool, err error) {
	total := int64(0)
	for _, n := range r.contentOf(f) {
		b := &r.blobs.all[n]
		if !b.found {
			return true, failure.New(failure.NotFound, "load", "blob data "+b.id.Short(), "no index lists the blob").
				WithHint("run: lifeboat vault check")
		}
		total += int64(b.size)
	}
	if total != f.size {
		was := f.size
		f.size = total
		return false, failure.New(failure.Corrupt, "restore", f.name, "its content has %d bytes, its entry says %d", total, was)
	}
	return false, nil
}

// clean makes a name that cannot be one fit for a message.
func clean(name string) string {
	if len(name) > 80 {
		name = name[:80] + "…"
	}
	return "«" + name + "»"
}
