package pgrestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// scratchName begins the names of scratch folders.
const scratchName = "lifeboat"

// scratchParents are where scratch folders may be: the system's folder for temporary files; and the one that everybody can
// use, since TMPDIR may have come from another user's session.
func scratchParents() []string { return []string{filepath.Clean(os.TempDir()), "/tmp"} }

// makeScratch makes the folder of the recovering server's socket and configuration. Sockets have short names.
func (r *run) makeScratch() error {
	var failed error
	for _, parent := range scratchParents() {
		if !r.place.owner.self && !open(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, scratchName)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		r.scratch = dir
		if err := r.place.owner.give(dir); err != nil {
			return err
		}
		return writeScratch(r.o, dir, r.place.owner)
	}
	return failure.WrapAs(failure.Denied, failed, "make a folder for", "the server's socket").WithHint("set TMPDIR to a folder that the server's user can use")
}

// open reports whether everybody may go through a folder and those above it.
func open(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// sweep removes the scratch folder that an unfinished restore left. The marker lies where the server's user can write, so that
// it is believed only as far as it names such a folder of that user.
func (m marker) sweep(o owner) error {
	dir := filepath.Clean(m.Scratch)
	ours := false
	for _, parent := range scratchParents() {
		ours = ours || filepath.Dir(dir) == parent
	}
	if m.Scratch == "" || !ours || !strings.HasPrefix(filepath.Base(dir), scratchName) {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != o.uid {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", dir)
	}
	return nil
}
