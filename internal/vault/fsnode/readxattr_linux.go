package fsnode

import (
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	noAccessTime = unix.O_NOATIME
	seekData     = unix.SEEK_DATA
	seekHole     = unix.SEEK_HOLE
	noXattr      = unix.ENODATA
)

// xattrsAt says whether the kernel (6.13 and later) finds attributes by a directory and a name in it. Others find the
// directory through /proc.
var xattrsAt = sync.OnceValue(func() bool {
	_, err := listxattrat(unix.AT_FDCWD, ".", nil)
	return err == nil || err == unix.ENOTSUP
})

func listxattrat(dir int, name string, buf []byte) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(path)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func getxattrat(dir int, name, attr string, buf []byte) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	key, err := unix.BytePtrFromString(attr)
	if err != nil {
		return 0, err
	}
	args := struct { // struct xattr_args
		value       *byte
		size, flags uint32
	}{unsafe.SliceData(buf), uint32(len(buf)), 0}
	n, _, errno := unix.Syscall6(unix.SYS_GETXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(path)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(key)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (d *Dir) procPath(name string) string { return "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + name }

func (d *Dir) listXattr(name string, buf []byte) (int, error) {
	if xattrsAt() {
		return listxattrat(d.fd, name, buf)
	}
	return unix.Llistxattr(d.procPath(name), buf)
}

func (d *Dir) getXattr(name, attr string, buf []byte) (int, error) {
	if xattrsAt() {
		return getxattrat(d.fd, name, attr, buf)
	}
	return unix.Lgetxattr(d.procPath(name), attr, buf)
}
