package pgrestore

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// owner is the operating system user that the server runs as. PostgreSQL runs as nobody's superuser.
type owner struct {
	uid, gid uint32
	self     bool // it is this process's: there is nothing to give
}

// ownerOf finds the server's user.
func ownerOf(o Options) (owner, error) {
	if os.Geteuid() != 0 {
		return owner{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), self: true}, nil
	}
	if o.Owner != "" {
		u, err := user.Lookup(o.Owner)
		if err != nil {
			return owner{}, failure.WrapAs(failure.NotFound, err, "find the server's user", o.Owner)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return owner{}, failure.WrapAs(failure.Invalid, err, "find the server's user", o.Owner)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return owner{}, failure.WrapAs(failure.Invalid, err, "find the server's user", o.Owner)
		}
		return owner{uid: uint32(uid), gid: uint32(gid)}, nil
	}
	for dir := o.Data; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
				return owner{uid: st.Uid, gid: st.Gid}, nil
			}
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return owner{}, failure.New(failure.Invalid, "find the server's user for", o.Data, "root owns the folder, and PostgreSQL does not run as root").
		WithHint("name the user that the server runs as, or give the folder to it")
}

// give makes a file that this process made the owner's.
func (o owner) give(path string) error {
	if o.self {
		return nil
	}
	if err := os.Lchown(path, int(o.uid), int(o.gid)); err != nil {
		return failure.WrapAs(failure.Denied, err, "give to the server's user", path)
	}
	return nil
}

// makeFolder makes a folder of the owner's, and those above it that are not there.
func (o owner) makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		if err := o.makeFolder(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	switch {
	case err == nil:
		return o.give(dir)
	case errors.Is(err, fs.ErrExist):
		return nil
	}
	return failure.WrapAs(failure.Denied, err, "make", dir)
}

// credential is whom the server's programs run as; nil: whoever this is.
func (o owner) credential() *syscall.Credential {
	if o.self {
		return nil
	}
	return &syscall.Credential{Uid: o.uid, Gid: o.gid}
}
