package restorer

import (
	"sync/atomic"

	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// none is no index.
const none = -1

// state is how a directory of the tree stands in the target.
type state uint8

const (
	unseen   state = iota
	fresh          // made by this run, or, in a dry run, not there: nothing can be in it
	existing       // it was there
	lost           // it cannot be had, and with it all that would be in it
	kept           // Overwrite keeps what is there instead, and with it nothing below is restored
)

// folder is a directory that is selected, or on the way to something that is.
type folder struct {
	parent   int32
	name     string
	meta     fsnode.Meta
	state    state
	wanted   bool     // it, or something below it, is selected
	whole    bool     // names has all that the tree has in it
	short    bool     // some of its metadata could not be set
	unlocked bool     // its owner was given rights to it that it had not; under the lock of the dirCache
	names    []string // of all entries, selected or not, sorted; only for Delete
}

// how is what is to be done for a file.
type how uint8

const (
	keep   how = iota // its content is right
	create            // there is none
	change            // the one that is there gets what differs
	beside            // a new one is written beside the old one, and then put in its place
	link              // it is another name of first
	leave             // Overwrite keeps what is there
	broken            // it cannot be restored
)

// file is a regular file that is selected.
type file struct {
	parent  int32
	first   int32 // the file whose other name it is; its own number when it is the first or the only one
	next    int32 // the next name of first
	from, n uint32
	how     how
	short   bool // some of its metadata could not be set
	opened  bool // it was made, or opened to be changed
	failed  atomic.Bool
	left    atomic.Int32 // how many of its blobs are still to be written
	name    string
	meta    fsnode.Meta
	size    int64 // of the blobs
	old     *old  // what is in its place; nil: nothing
	written atomic.Int64
}

// old is what lies in the place of a file.
type old struct {
	id    fsnode.Identity
	kind  tree.Type
	size  int64
	needs []uint64 // bits: which blobs of the file it has not; nil: it may have none
}

// needed reports whether the i-th blob is to be written.
func (f *file) needed(i int) bool {
	return f.old == nil || f.old.needs == nil || f.old.needs[i/64]&(1<<(i%64)) != 0
}

// compared reports whether it is known which of its blobs are in its place.
func (f *file) compared() bool { return f.old != nil && f.old.needs != nil }

// over reports whether a file lies in its place already.
func (f *file) over() bool { return f.old != nil && f.old.kind == tree.File }

// other is what is neither a file nor a directory.
type other struct {
	parent int32
	name   string
	meta   fsnode.Meta
	target string // of a symbolic link
	device uint64
	first  int32 // the one whose other name it is; its own number when it is the first or the only one
	next   int32 // the next name of first
	names  int32 // how many names it has in the tree, of the first
	short  bool
	done   bool // it is in the target as it should be
}

// place is where in a file a blob is to be written. The places of a blob are a list.
type place struct {
	file   int32
	next   int32
	offset int64
}

// blobTable numbers blobs of data.
type blobTable struct {
	known map[object.ID]uint32 // while scanning
	all   []blobEntry
}

type blobEntry struct {
	id    object.ID
	size  uint32
	found bool  // the index lists it
	first int32 // of places
	// source is a file in whose place in the target the blob lies and stays, and at which offset; none: there is none known.
	source int32
	offset int64
}

func (t *blobTable) number(id object.ID) (n uint32, isNew bool) {
	n, ok := t.known[id]
	if !ok {
		n = uint32(len(t.all))
		t.known[id] = n
		t.all = append(t.all, blobEntry{id: id, first: none, source: none})
	}
	return n, !ok
}

// contentOf gives the numbers of a file's blobs.
func (r *run) contentOf(f *file) []uint32 { return r.content[f.from : f.from+f.n] }

// path gives the path of a folder in the tree, and below it the names.
func (r *run) path(i int32, names ...string) string {
	length := 0
	for at := i; at > 0; at = r.folders[at].parent {
		length += 1 + len(r.folders[at].name)
	}
	for _, name := range names {
		length += 1 + len(name)
	}
	if length == 0 {
		return "/"
	}
	path := make([]byte, length)
	put := func(name string) {
		length -= len(name)
		copy(path[length:], name)
		length--
		path[length] = '/'
	}
	for n := len(names) - 1; n >= 0; n-- {
		put(names[n])
	}
	for at := i; at > 0; at = r.folders[at].parent {
		put(r.folders[at].name)
	}
	return string(path)
}

// pathOf gives the path of a file.
func (r *run) pathOf(f *file) string { return r.path(f.parent, f.name) }
