//go:build darwin || freebsd

package mount

import "os/exec"

// detach takes a mount away from the tree of files, though it is in use.
func detach(dir string) error { return exec.Command("umount", "-f", dir).Run() }
