package fsnode

import (
	"golang.org/x/sys/unix"
)

const (
	noAccessTime = 0
	seekData     = 4 // SEEK_DATA and SEEK_HOLE of <sys/unistd.h>
	seekHole     = 3
	noXattr      = unix.ENOATTR
)

func (d *Dir) listXattr(name string, buf []byte) (int, error) {
	return unix.Llistxattr(d.join(name), buf)
}

func (d *Dir) getXattr(name, attr string, buf []byte) (int, error) {
	return unix.Lgetxattr(d.join(name), attr, buf)
}
