package restorer

import (
	"archive/tar"
	"archive/zip"
	"encoding/binary"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// tarArchive writes tar in the PAX format, in which times have nanoseconds and names any length. Extended attributes and
// access control lists are written as GNU tar, star and bsdtar read them.
type tarArchive struct {
	w     *tar.Writer
	links map[linkKey]linked // files with several names, as they were added first
}

type linked struct {
	name    string
	content []object.ID
}

func newTar(w io.Writer) *tarArchive { return &tarArchive{tar.NewWriter(w), map[linkKey]linked{}} }

func keyOf(n *tree.Node) linkKey { return linkKey{n.Inode, n.DeviceID, int64(n.Size)} }

// linkedTo gives under which name a file was added already.
func (a *tarArchive) linkedTo(n *tree.Node) (string, bool) {
	first, ok := a.links[keyOf(n)]
	return first.name, ok && n.Links > 1 && slices.Equal(first.content, n.Content)
}

// A file's other names may come in the same batch as the first, whose content then is loaded for nothing.
func (a *tarArchive) takes(n *tree.Node) bool {
	_, link := a.linkedTo(n)
	return !link
}

func (a *tarArchive) add(n *tree.Node, name string) (io.Writer, error) {
	h := &tar.Header{
		Name: name, Mode: tarMode(n.Mode), Uid: int(n.UID), Gid: int(n.GID), Uname: n.User, Gname: n.Group,
		ModTime: n.ModTime, AccessTime: n.AccessTime, ChangeTime: n.ChangeTime, Format: tar.FormatPAX, PAXRecords: paxXattrs(n.Xattrs),
	}
	switch n.Type {
	case tree.File:
		h.Typeflag, h.Size = tar.TypeReg, int64(n.Size)
		if first, ok := a.linkedTo(n); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else if n.Links > 1 {
			a.links[keyOf(n)] = linked{name, n.Content}
		}
	case tree.Dir:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case tree.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.LinkTarget
	case tree.Fifo:
		h.Typeflag = tar.TypeFifo
	case tree.CharDevice, tree.Device:
		h.Typeflag = tar.TypeChar
		if n.Type == tree.Device {
			h.Typeflag = tar.TypeBlock
		}
		// The kernel's encoding of 64-bit device numbers, as in makedev(3).
		h.Devmajor = int64(n.Device>>8&0xfff | n.Device>>32&^0xfff)
		h.Devminor = int64(n.Device&0xff | n.Device>>12&0xfff00)
	default:
		return nil, nil // a socket is nothing that an archive could bring back
	}
	if err := a.w.WriteHeader(h); err != nil {
		return nil, failure.WrapAs(failure.KindOf(err), err, "write the header of", name)
	}
	if h.Typeflag != tar.TypeReg {
		return nil, nil
	}
	return a.w, nil
}

func (a *tarArchive) Close() error { return failure.Wrap(a.w.Close(), "end the archive", "") }

// tarMode turns Go's bits into those of tar.
func tarMode(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// paxXattrs are the records that star and GNU tar keep extended attributes in. A name with "=" cannot be in one.
func paxXattrs(xattrs []tree.Xattr) map[string]string {
	records := map[string]string{}
	for _, x := range xattrs {
		acl := map[string]string{"system.posix_acl_access": "SCHILY.acl.access", "system.posix_acl_default": "SCHILY.acl.default"}[x.Name]
		if text, ok := aclText(x.Value); ok && acl != "" {
			records[acl] = text
		} else if !strings.Contains(x.Name, "=") {
			records["SCHILY.xattr."+x.Name] = string(x.Value)
		}
	}
	return records
}

// aclText writes an access control list, as Linux keeps it (linux/posix_acl_xattr.h), in the long text form of acl(5),
// with users and groups as numbers.
func aclText(value []byte) (string, bool) {
	if len(value) < 4 || len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != 2 {
		return "", false
	}
	var out strings.Builder
	for e := value[4:]; len(e) > 0; e = e[8:] {
		id := strconv.FormatUint(uint64(binary.LittleEndian.Uint32(e[4:])), 10)
		switch binary.LittleEndian.Uint16(e) {
		case 0x01:
			out.WriteString("user:")
		case 0x02:
			out.WriteString("user:" + id)
		case 0x04:
			out.WriteString("group:")
		case 0x08:
			out.WriteString("group:" + id)
		case 0x10:
			out.WriteString("mask:")
		case 0x20:
			out.WriteString("other:")
		default:
			return "", false
		}
		out.WriteByte(':')
		perm := binary.LittleEndian.Uint16(e[2:])
		for i, letter := range []byte("rwx") {
			if perm&(4>>i) == 0 {
				letter = '-'
			}
			out.WriteByte(letter)
		}
		out.WriteByte('\n')
	}
	return out.String(), true
}

// zipArchive writes zip.
type zipArchive struct{ w *zip.Writer }

func newZip(w io.Writer) zipArchive { return zipArchive{zip.NewWriter(w)} }

func (a zipArchive) takes(*tree.Node) bool { return true }

func (a zipArchive) add(n *tree.Node, name string) (io.Writer, error) {
	h := &zip.FileHeader{Name: name, Modified: n.ModTime}
	h.SetMode(n.Mode)
	switch n.Type {
	case tree.File:
		h.UncompressedSize64, h.Method = n.Size, zip.Deflate
	case tree.Dir:
		h.Name += "/"
	case tree.Symlink:
	default:
		return nil, nil // zip knows no others
	}
	w, err := a.w.CreateHeader(h)
	if err != nil {
		return nil, failure.WrapAs(failure.KindOf(err), err, "write the header of", name)
	}
	switch n.Type {
	case tree.Symlink:
		_, err := io.WriteString(w, n.LinkTarget)
		return nil, failure.Wrap(err, "write", name)
	case tree.Dir:
		return nil, nil
	}
	return w, nil
}

func (a zipArchive) Close() error { return failure.Wrap(a.w.Close(), "end the archive", "") }
