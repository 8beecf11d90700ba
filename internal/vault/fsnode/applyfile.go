package fsnode

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// WriteAt writes like io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(f.fd, p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.EIO
		}
		if err != nil {
			return done, written(err, "write", f.Path())
		}
		done += n
	}
	return done, nil
}

// Truncate makes the file size bytes long: what is beyond goes, what is missing is a hole.
func (f *File) Truncate(size int64) error {
	return written(again(func() error { return unix.Ftruncate(f.fd, size) }), "set the size of", f.Path())
}

// Hide lets nobody but the owner read or write the file from now on.
func (f *File) Hide() error {
	return written(again(func() error { return unix.Fchmod(f.fd, 0o600) }), "set the mode of", f.Path())
}

// CloseWritten gives up a file that was written to. Some file systems say only now that it could not be.
func (f *File) CloseWritten() error {
	err := unix.Close(f.fd)
	if err == unix.EINTR { // it is closed all the same
		err = nil
	}
	return written(err, "close", f.Path())
}

// Full reports whether err says that there is no room.
func Full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// Running reports whether err says that a file is a program that runs, and cannot be written to while it does.
func Running(err error) bool { return errors.Is(err, unix.ETXTBSY) }

// written gives an error of the system its kind, where something was to be changed.
func written(err error, op, subject string) error {
	hint, kind := "", failure.Unavailable
	switch {
	case err == nil:
		return nil
	case Full(err):
		kind, hint = failure.Denied, "the file system or the quota is full: make room, then restore again, which goes on where this ended"
	case errors.Is(err, unix.EROFS):
		kind, hint = failure.Denied, "the file system is mounted read-only"
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		kind = failure.Exists
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		kind, hint = failure.Conflict, "somebody else changes the target: restore again when that has ended"
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EBUSY), Running(err):
		kind = failure.Conflict
	case errors.Is(err, unix.EPERM):
		kind, hint = failure.Denied, "this needs root, or the file is immutable (lsattr shows it, chattr -i ends it)"
	case errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EILSEQ), errors.Is(err, unix.EFBIG):
		kind, hint = failure.Invalid, "this file system cannot hold it: restore to another one"
	default:
		return mapped(err, op, subject)
	}
	e := failure.WrapAs(kind, err, op, subject)
	if hint != "" {
		e = e.WithHint("%s", hint)
	}
	return e
}
