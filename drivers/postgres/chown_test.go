package postgres

import (
	"os"
	"syscall"
)

// chownLike gives a file to the owner of another.
func chownLike(path string, like os.FileInfo) error {
	st := like.Sys().(*syscall.Stat_t)
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}
