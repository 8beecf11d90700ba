//go:build !linux

package measured

import "syscall"

// peak is a process's largest resident set. Darwin counts it in bytes.
func peak(u *syscall.Rusage) int64 { return int64(u.Maxrss) }
