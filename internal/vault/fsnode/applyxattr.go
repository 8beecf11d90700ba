package fsnode

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// ofPolicy are attributes that the system gives by itself and lets nobody remove: they stay when a node has none.
var ofPolicy = map[string]bool{"security.selinux": true, "com.apple.provenance": true}

// setXattrs makes the extended attributes those of m, and reports whether any was not. Others that the Applier selects
// are removed.
func (a *Applier) setXattrs(s subject, m *Meta) (changed bool, short []Shortfall, err error) {
	var first [1024]byte
	list, err := grow(first[:], s.listXattr)
	if err != nil {
		return false, nil, written(err, "list the extended attributes of", s.path())
	}
	if len(list) == 0 && m.xattrs == nil {
		return false, nil, nil
	}
	have := splitXattrs(list)
	for _, x := range m.attrs() {
		if slices.Contains(have, x.Name) && s.hasXattr(x) {
			continue
		}
		changed = true
		if a.DryRun {
			break
		}
		if err := again(func() error { return s.setXattr(x.Name, x.Value) }); err != nil {
			if tooLarge(err) {
				short = append(short, Shortfall{"extended attribute " + x.Name, failure.New(failure.Unsupported, "set the extended attribute "+x.Name+" of",
					s.path(), "the file system has no room for %d bytes in one file's attributes", len(x.Value))})
				continue
			}
			fell := written(err, "set the extended attribute "+x.Name+" of", s.path())
			if !excusable(err) {
				return changed, short, fell
			}
			short = append(short, Shortfall{"extended attribute " + x.Name, fell})
		}
	}
	for _, name := range have {
		if !a.wants(name) || ofPolicy[name] || slices.ContainsFunc(m.attrs(), func(x tree.Xattr) bool { return x.Name == name }) {
			continue
		}
		changed = true
		if a.DryRun {
			break
		}
		err := again(func() error { return s.removeXattr(name) })
		if err != nil && err != noXattr {
			fell := written(err, "remove the extended attribute "+name+" of", s.path())
			if !excusable(err) {
				return changed, short, fell
			}
			short = append(short, Shortfall{"removal of the extended attribute " + name, fell})
		}
	}
	return changed, short, nil
}

func (s subject) hasXattr(x tree.Xattr) bool {
	value, err := grow(make([]byte, len(x.Value)+1), func(buf []byte) (int, error) { return s.getXattr(x.Name, buf) })
	return err == nil && value != nil && bytes.Equal(value, x.Value)
}

// excusable reports whether an attribute that could not be set is a Shortfall: the file system has none of the kind, or
// this user may not.
func excusable(err error) bool {
	return err == unix.ENOTSUP || err == unix.EOPNOTSUPP || unprivileged() && (err == unix.EPERM || err == unix.EACCES)
}

// tooLarge reports whether a file's attributes are more than the file system puts up with. That says nothing of the disk.
func tooLarge(err error) bool { return err == unix.ENOSPC || err == unix.E2BIG || err == unix.ERANGE }

// again repeats a call that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
