package vaultservice

import (
	"archive/tar"
	"archive/zip"
	"context"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Dump writes one file's content, or a folder as an archive.
func (s *Service) Dump(ctx context.Context, req api.VaultDumpRequest, w io.Writer) (*api.VaultDumpReply, error) {
	if req.Archive != "" && req.Archive != "tar" && req.Archive != "zip" {
		return nil, failure.New(failure.Invalid, "dump", "", "%q is no archive format", req.Archive).WithHint("write --archive tar or --archive zip")
	}
	reply := &api.VaultDumpReply{}
	out := &counter{w: w}
	err := s.locked(ctx, req.VaultAccess, func(ctx context.Context, v *vault.Vault) error {
		sn, root, base, err := findRoot(ctx, v, req.Point, req.VaultPointFilter)
		if err != nil {
			return err
		}
		p := cleanPath(req.Path)
		reply.Point, reply.Path = sn.ID.String(), path.Join(base, p)
		if p == "/" {
			return archive(ctx, v, root, req.Archive, "", out)
		}
		n, err := v.Find(ctx, root, p)
		if err != nil {
			return inPoint(err, sn)
		}
		switch {
		case n.Type == tree.Dir && n.Subtree != nil:
			return archive(ctx, v, *n.Subtree, req.Archive, strings.TrimPrefix(reply.Path, "/")+"/", out)
		case n.Type != tree.File:
			return failure.New(failure.Invalid, "dump", p, "it is a %s, without content", n.Type).
				WithHint("restore it: lifeboat vault restore %s --include %s --target FOLDER", sn.ID.Short(), p)
		}
		return failure.Wrap(content(ctx, v, n, out), "dump", p)
	})
	reply.Bytes = out.n
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// counter counts what is written. Its errors are the reader's who went away, not the vault's.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if err != nil {
		err = failure.WrapAs(failure.Unavailable, err, "write", "the output")
	}
	return n, err
}

// content writes what is in a file.
func content(ctx context.Context, v *vault.Vault, n *tree.Node, w io.Writer) error {
	f, err := v.OpenFile(ctx, n.Content)
	if err != nil {
		return err
	}
	if f.Size() != int64(n.Size) {
		return failure.New(failure.Corrupt, "", "", "its content has %d bytes, and its entry says %d", f.Size(), n.Size)
	}
	_, err = f.CopyTo(ctx, w)
	return err
}

// packer is what tar and zip have in common.
type packer interface {
	// add writes one entry; for a file, what body writes is its content.
	add(name string, n *tree.Node, body func(io.Writer) error) error
	Close() error
}

// archive writes everything below root, each name behind prefix.
func archive(ctx context.Context, v *vault.Vault, root object.ID, format, prefix string, w io.Writer) error {
	var a packer = &tarArchive{tar.NewWriter(w)}
	if format == "zip" {
		a = &zipArchive{zip.NewWriter(w)}
	}
	err := v.Walk(ctx, root, func(p string, n *tree.Node, err error) error {
		if err != nil {
			return failure.Wrap(err, "dump", p)
		}
		err = a.add(prefix+strings.TrimPrefix(p, "/"), n, func(w io.Writer) error { return content(ctx, v, n, w) })
		return failure.Wrap(err, "dump", p)
	})
	if err != nil {
		return err // the archive stays without its end, so that nobody takes it for whole
	}
	return failure.Wrap(a.Close(), "end", "the archive")
}

type tarArchive struct{ *tar.Writer }

// tarTypes are the kinds that a tar has. A socket has no place in one, and is left out as tar(1) does.
var tarTypes = map[tree.Type]byte{
	tree.File: tar.TypeReg, tree.Dir: tar.TypeDir, tree.Symlink: tar.TypeSymlink, tree.Device: tar.TypeBlock,
	tree.CharDevice: tar.TypeChar, tree.Fifo: tar.TypeFifo,
}

func (a *tarArchive) add(name string, n *tree.Node, body func(io.Writer) error) error {
	kind, ok := tarTypes[n.Type]
	if !ok {
		return nil
	}
	h := &tar.Header{
		Typeflag: kind, Name: name, Linkname: n.LinkTarget, Mode: int64(unixMode(n.Mode)), Uid: int(n.UID), Gid: int(n.GID),
		Uname: n.User, Gname: n.Group, ModTime: n.ModTime, Format: tar.FormatPAX,
	}
	switch n.Type {
	case tree.Dir:
		h.Name += "/"
	case tree.File:
		h.Size = int64(n.Size)
	case tree.Device, tree.CharDevice:
		h.Devmajor, h.Devminor = deviceNumbers(n.Device)
	}
	for _, x := range n.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value) // as star and GNU tar write them
	}
	if err := a.WriteHeader(h); err != nil {
		return failure.WrapAs(kindOfOutput(err), err, "write", "the archive")
	}
	if n.Type != tree.File {
		return nil
	}
	return body(a.Writer)
}

// unixMode gives the permission bits as chmod(2) has them.
func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for bit, unix := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			mode |= unix
		}
	}
	return mode
}

// deviceNumbers takes st_rdev apart as Linux's gnu_dev_major and gnu_dev_minor do.
func deviceNumbers(dev uint64) (major, minor int64) {
	return int64(dev>>8&0xfff | dev>>32&^0xfff), int64(dev&0xff | dev>>12&^0xff&0xffffffff)
}

type zipArchive struct{ *zip.Writer }

func (a *zipArchive) add(name string, n *tree.Node, body func(io.Writer) error) error {
	h := &zip.FileHeader{Name: name, Modified: n.ModTime, UncompressedSize64: n.Size}
	h.SetMode(n.Mode)
	switch n.Type {
	case tree.Dir:
		h.Name += "/"
	case tree.File:
		h.Method = zip.Deflate
	case tree.Symlink:
		body = func(w io.Writer) error { _, err := io.WriteString(w, n.LinkTarget); return err }
	default:
		return nil // a zip has no devices, pipes and sockets
	}
	w, err := a.CreateHeader(h)
	if err != nil {
		return failure.WrapAs(kindOfOutput(err), err, "write", "the archive")
	}
	if n.Type == tree.Dir {
		return nil
	}
	return body(w)
}

// kindOfOutput is the kind of an error of writing an archive: the output's own, else that an entry does not fit the
// format.
func kindOfOutput(err error) failure.Kind {
	if failure.Classified(err) {
		return failure.KindOf(err)
	}
	return failure.Unsupported
}
