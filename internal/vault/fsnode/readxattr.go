package fsnode

import (
	"bytes"
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// maxXattr bounds one attribute. Linux has at most 64 KiB, others say that they have more.
const maxXattr = 64 << 20

// lists keeps memory for the names of attributes: most files have none, and are asked all the same.
var lists = sync.Pool{New: func() any { return new([1024]byte) }}

// xattrs gives the extended attributes of name in d, access control lists among them, in the system's order. A file
// system that has none gives none. What can be read comes also with an error.
func (d *Dir) xattrs(name string) ([]tree.Xattr, error) {
	first := lists.Get().(*[1024]byte)
	defer lists.Put(first)
	list, err := grow(first[:], func(buf []byte) (int, error) { return d.listXattr(name, buf) })
	if err != nil {
		return nil, mapped(err, "list the extended attributes", d.join(name))
	}
	if len(list) == 0 {
		return nil, nil
	}
	var attrs []tree.Xattr
	var errs []error
	for _, attr := range splitXattrs(list) {
		value, err := grow(make([]byte, 256), func(buf []byte) (int, error) { return d.getXattr(name, attr, buf) })
		if err != nil {
			errs = append(errs, mapped(err, "read the extended attribute "+attr, d.join(name)))
			continue
		}
		if value == nil {
			continue // it was removed meanwhile
		}
		attrs = append(attrs, tree.Xattr{Name: attr, Value: value})
	}
	return attrs, errors.Join(errs...)
}

// grow calls read with larger buffers until what it gives fits. An attribute that is not there, and a file system that
// has none, give nothing.
func grow(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOTSUP || err == unix.EOPNOTSUPP || err == noXattr:
			return nil, nil
		case err != nil && err != unix.ERANGE && err != unix.E2BIG:
			return nil, err
		case err == nil && n < len(buf):
			return buf[:n], nil
		case len(buf) >= maxXattr:
			return nil, unix.EOVERFLOW
		}
		buf = make([]byte, 4*len(buf))
	}
}

// splitXattrs cuts what the system lists into names.
func splitXattrs(list []byte) []string {
	var names []string
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names
}
