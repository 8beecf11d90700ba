package file

import "golang.org/x/sys/unix"

// renameNew is a rename that fails with EEXIST where rename(2) would replace.
func renameNew(from, to string) error {
	return unix.RenamexNp(from, to, unix.RENAME_EXCL)
}
