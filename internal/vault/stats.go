package vault

import (
	"context"
	"crypto/sha256"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// SizeMode says what [Vault.Sizes] counts. The modes and their names are restic's.
type SizeMode string

// The modes.
const (
	// RestoreSize is what restoring the snapshots would take, each by itself; hard links count once.
	RestoreSize SizeMode = "restore-size"
	// FilesByContents counts each content once, however many files have it.
	FilesByContents SizeMode = "files-by-contents"
	// BlobsPerFile counts each blob once for each path that has it in any of the snapshots, but a content that was counted
	// at one path not again at another.
	BlobsPerFile SizeMode = "blobs-per-file"
	// RawData counts each blob once, as it lies in the packs.
	RawData SizeMode = "raw-data"
)

// SizeModes lists the modes, restic's default first.
func SizeModes() []SizeMode { return []SizeMode{RestoreSize, FilesByContents, BlobsPerFile, RawData} }

// Sizes are counts over some snapshots. What a mode does not count is zero.
type Sizes struct {
	Snapshots int
	Files     uint64 // with RestoreSize, everything that has a name
	Blobs     uint64
	Bytes     uint64
	// Of RawData: what the blobs would take without compression, the part of Bytes that is compressed, and what that
	// would take without.
	Plain, Compressed, CompressedPlain uint64
}

// Ratio is how much smaller compression makes what is compressed; 0: nothing is.
func (s Sizes) Ratio() float64 {
	if s.Compressed == 0 {
		return 0
	}
	return float64(s.CompressedPlain) / float64(s.Compressed)
}

// Progress is how much of the data is compressed, in percent.
func (s Sizes) Progress() float64 {
	if s.Plain == 0 {
		return 0
	}
	return float64(s.CompressedPlain) / float64(s.Plain) * 100
}

// Saving is how much of the space compression saves, in percent.
func (s Sizes) Saving() float64 {
	if s.Plain == 0 {
		return 0
	}
	return (1 - float64(s.Bytes)/float64(s.Plain)) * 100
}

// Sizes counts what snapshots hold. A mode that is none is Invalid.
func (v *Vault) Sizes(ctx context.Context, snapshots []*snapshot.Snapshot, mode SizeMode) (*Sizes, error) {
	c := &sizer{v: v, mode: mode, files: map[object.ID]struct{}{}, paths: map[string]map[object.ID]struct{}{}}
	c.sizes.Snapshots = len(snapshots)
	switch mode {
	case RawData:
		var roots []object.ID
		for _, s := range snapshots {
			roots = append(roots, *s.Tree)
		}
		return &c.sizes, c.raw(ctx, roots)
	case RestoreSize, FilesByContents, BlobsPerFile:
	default:
		return nil, failure.New(failure.Invalid, "count sizes", "", "there is no mode %.40q", mode).
			WithHint("one of %v", SizeModes())
	}
	for _, s := range snapshots {
		c.links = map[link]struct{}{}
		err := v.Walk(ctx, *s.Tree, func(path string, n *tree.Node, err error) error {
			if err == nil {
				err = c.node(ctx, path, n)
			}
			return err
		})
		if err != nil {
			return nil, failure.Wrap(err, "count sizes of snapshot", s.ID.Short())
		}
	}
	return &c.sizes, nil
}

// link is what tells files with several names apart.
type link struct{ inode, device uint64 }

// sizer is one run of Sizes.
type sizer struct {
	v     *Vault
	mode  SizeMode
	sizes Sizes
	files map[object.ID]struct{}            // hashes of lists of blobs
	paths map[string]map[object.ID]struct{} // the blobs that a path has in any snapshot
	links map[link]struct{}                 // of one snapshot
}

func (c *sizer) node(ctx context.Context, path string, n *tree.Node) error {
	if c.mode == RestoreSize {
		c.sizes.Files++
		if n.Links > 1 && n.Type != tree.Dir && n.Inode != 0 {
			l := link{n.Inode, n.DeviceID}
			if _, seen := c.links[l]; seen {
				return nil
			}
			c.links[l] = struct{}{}
		}
		c.sizes.Bytes += n.Size
		return nil
	}
	list := sha256.New()
	for _, id := range n.Content {
		list.Write(id[:])
	}
	content := object.ID(list.Sum(nil))
	if _, seen := c.files[content]; seen {
		return nil
	}
	c.files[content] = struct{}{}
	if c.mode == FilesByContents {
		c.sizes.Files++
		c.sizes.Bytes += n.Size
		return nil
	}
	if len(n.Content) == 0 {
		return nil
	}
	blobs, seen := c.paths[path]
	if !seen {
		blobs = map[object.ID]struct{}{}
		c.paths[path] = blobs
		c.sizes.Files++
	}
	for _, id := range n.Content {
		if _, seen := blobs[id]; seen {
			continue
		}
		blobs[id] = struct{}{}
		size, err := c.v.BlobSize(ctx, object.Handle{Type: object.Data, ID: id})
		if err != nil {
			return failure.Wrap(err, "count", path)
		}
		c.sizes.Blobs++
		c.sizes.Bytes += uint64(size)
	}
	return nil
}

// raw counts blobs as the index lists them.
func (c *sizer) raw(ctx context.Context, roots []object.ID) error {
	blobs := map[object.ID]struct{}{}
	err := c.v.eachTree(ctx, roots, map[object.ID]struct{}{}, func(id object.ID, t *tree.Tree) error {
		if err := c.blob(object.Handle{Type: object.Tree, ID: id}); err != nil {
			return err
		}
		for i := range t.Nodes {
			for _, id := range t.Nodes[i].Content {
				if _, seen := blobs[id]; seen {
					continue
				}
				blobs[id] = struct{}{}
				if err := c.blob(object.Handle{Type: object.Data, ID: id}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return failure.Wrap(err, "count sizes", c.v.Location())
}

// blob counts the first copy of a blob.
func (c *sizer) blob(h object.Handle) error {
	c.v.mu.RLock()
	p, there := c.v.index.First(h)
	c.v.mu.RUnlock()
	if !there {
		return missing(h)
	}
	length, plain := uint64(p.Length), uint64(p.Length)
	if p.PlainLength != 0 {
		plain = uint64(p.PlainLength) + crypto.Overhead
		c.sizes.Compressed += length
		c.sizes.CompressedPlain += plain
	}
	c.sizes.Blobs++
	c.sizes.Bytes += length
	c.sizes.Plain += plain
	return nil
}
