package measured

import "syscall"

// peak is a process's largest resident set. Linux counts it in KiB.
func peak(u *syscall.Rusage) int64 { return u.Maxrss << 10 }
