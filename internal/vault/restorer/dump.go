package restorer

import (
	"context"
	"io"
	gopath "path"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Format is how Dump writes a directory.
type Format string

// The formats. The empty one is Tar.
const (
	Tar Format = "tar"
	Zip Format = "zip"
)

// batchBytes is how much content of small files is loaded with as few requests as possible, and held.
const batchBytes = 32 << 20

// Dump writes what lies at path below the tree root to w: a file's content as it is, a directory as an archive whose
// names begin with path, as restic's dump has them. Path "/" is the whole tree. It gives the bytes that it wrote.
//
// A tar holds all metadata, hard links, devices and fifos; a zip holds files, directories and symbolic links with their
// modes and times. NotFound: there is nothing at path; Invalid: it is neither a file nor a directory, or there is no such
// format. With any other error what was written is not whole.
func Dump(ctx context.Context, v *vault.Vault, root object.ID, path string, f Format, w io.Writer) (int64, error) {
	out := &countingWriter{w: w}
	err := dump(ctx, v, root, gopath.Clean("/"+path), f, out)
	return out.n, failure.Wrap(err, "dump", path)
}

func dump(ctx context.Context, v *vault.Vault, root object.ID, path string, f Format, out io.Writer) error {
	if f != "" && f != Tar && f != Zip {
		return failure.New(failure.Invalid, "write an archive", "", "%q is no format", f).WithHint("use one of: tar, zip")
	}
	if path != "/" {
		n, err := v.Find(ctx, root, path)
		if err != nil {
			return err
		}
		switch n.Type {
		case tree.File:
			return dumpFile(ctx, v, n, out)
		case tree.Dir:
			if err := n.Valid(); err != nil {
				return err
			}
			root = *n.Subtree
		default:
			return failure.New(failure.Invalid, "write", path, "it is a %s, neither a file nor a directory", n.Type)
		}
	}
	var a archive
	if f == Zip {
		a = newZip(out)
	} else {
		a = newTar(out)
	}
	d := &dumper{v: v, archive: a, prefix: path[1:]}
	if err := d.tree(ctx, root); err != nil {
		return err
	}
	return a.Close()
}

// dumpFile writes a file's content.
func dumpFile(ctx context.Context, v *vault.Vault, n *tree.Node, w io.Writer) error {
	f, err := v.OpenFile(ctx, n.Content)
	if err != nil {
		return err
	}
	if uint64(f.Size()) != n.Size {
		return failure.New(failure.Corrupt, "read", n.Name, "its content has %d bytes, its entry says %d", f.Size(), n.Size)
	}
	_, err = f.CopyTo(ctx, w)
	return err
}

// archive is what a directory is written to.
type archive interface {
	// add begins an entry and gives where its content goes. With nil it takes none: it is no file, another name of one
	// that was added, or of a type that the format does not know.
	add(n *tree.Node, name string) (io.Writer, error)
	// takes reports whether add will want the content of a file.
	takes(n *tree.Node) bool
	Close() error
}

// dumper collects entries, so that the content of many small files comes with few requests.
type dumper struct {
	v       *vault.Vault
	archive archive
	prefix  string
	batch   []dumped
	bytes   uint64
}

type dumped struct {
	name string
	node *tree.Node
}

func (d *dumper) tree(ctx context.Context, root object.ID) error {
	err := d.v.Walk(ctx, root, func(path string, n *tree.Node, err error) error {
		if err != nil {
			return failure.Wrap(err, "read", path)
		}
		entry := dumped{gopath.Join(d.prefix, path[1:]), n}
		if n.Type == tree.File && n.Size > batchBytes {
			if err := d.flush(ctx); err != nil {
				return err
			}
			return d.write(ctx, entry, nil)
		}
		d.batch = append(d.batch, entry)
		d.bytes += n.Size
		if d.bytes > batchBytes || len(d.batch) >= 4096 {
			return d.flush(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// flush writes what was collected.
func (d *dumper) flush(ctx context.Context) error {
	var handles []object.Handle
	for _, e := range d.batch {
		if e.node.Type != tree.File || !d.archive.takes(e.node) {
			continue
		}
		for _, id := range e.node.Content {
			handles = append(handles, object.Handle{Type: object.Data, ID: id})
		}
	}
	var mu sync.Mutex
	got := make(map[object.ID][]byte, len(handles))
	err := d.v.LoadBlobs(ctx, handles, func(h object.Handle, data []byte, err error) error {
		if err != nil {
			return err
		}
		data = append([]byte(nil), data...)
		mu.Lock()
		defer mu.Unlock()
		got[h.ID] = data
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range d.batch {
		if err := d.write(ctx, e, got); err != nil {
			return err
		}
	}
	clear(d.batch)
	d.batch, d.bytes = d.batch[:0], 0
	return nil
}

// write adds one entry. Its content comes from got, or, when that is nil, from the vault.
func (d *dumper) write(ctx context.Context, e dumped, got map[object.ID][]byte) error {
	if err := ctx.Err(); err != nil {
		return failure.Wrap(err, "write", e.name)
	}
	total := uint64(0)
	for _, id := range e.node.Content {
		total += uint64(len(got[id]))
	}
	if e.node.Type == tree.File && got != nil && d.archive.takes(e.node) && total != e.node.Size {
		return failure.New(failure.Corrupt, "read", e.name, "its content has %d bytes, its entry says %d", total, e.node.Size)
	}
	w, err := d.archive.add(e.node, e.name)
	if err != nil || w == nil {
		return failure.Wrap(err, "write", e.name)
	}
	if got == nil {
		return failure.Wrap(dumpFile(ctx, d.v, e.node, w), "write", e.name)
	}
	for _, id := range e.node.Content {
		if _, err := w.Write(got[id]); err != nil {
			return failure.Wrap(err, "write", e.name)
		}
	}
	return nil
}

// countingWriter counts what goes through it.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, failure.Wrap(err, "write", "")
}
