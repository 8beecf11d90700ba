package file

import "golang.org/x/sys/unix"

// renameNew is a rename that fails with EEXIST where rename(2) would replace.
func renameNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
