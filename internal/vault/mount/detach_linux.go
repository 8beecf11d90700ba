package mount

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// detach takes a mount away from the tree of files, though it is in use.
func detach(dir string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, unix.MNT_DETACH)
	}
	program, err := exec.LookPath("fusermount3")
	if err != nil {
		program = "fusermount"
	}
	return exec.Command(program, "-u", "-z", dir).Run()
}
