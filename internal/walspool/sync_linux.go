package walspool

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes a file's content durable, and its length where that changed; times are not waited for (fdatasync(2)).
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
