package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// seen is an Info with what only this package needs.
type seen struct {
	Info
	zombie bool
}

// bootID tells boots apart: start times count from the boot.
var bootID = sync.OnceValue(func() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
})

// Table gives all processes that are running now, zombies left out.
func Table() ([]Info, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "list processes", "/proc")
	}
	var table []Info
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if info, err := look(pid); err == nil && !info.zombie && len(info.Args) > 0 { // no arguments: the kernel's own
			table = append(table, info.Info)
		}
	}
	return table, nil
}

// look reads one process from /proc. The fields of stat are described in proc_pid_stat(5).
func look(pid int) (seen, error) {
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return seen{}, err
	}
	// The name in parentheses may hold anything; what follows the last one is numbers, from field 3 on.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return seen{}, fmt.Errorf("%s/stat: %d fields", folder, len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return seen{}, err
	}
	info := seen{zombie: fields[0] == "Z" || fields[0] == "X"}
	info.ID, info.Parent = ID{PID: pid, Start: bootID() + ":" + fields[19]}, parent
	owner, err := os.Stat(folder)
	if err != nil {
		return seen{}, err
	}
	info.UID = int(owner.Sys().(*syscall.Stat_t).Uid)
	line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	if err != nil {
		return seen{}, err
	}
	if line = bytes.TrimRight(line, "\x00"); len(line) > 0 {
		info.Args = strings.Split(string(line), "\x00")
	}
	return info, nil
}

// Folder is the process's working folder, or "" where it cannot be seen.
func Folder(pid int) string {
	folder, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(folder, " (deleted)")
}

// HasEnv reports whether the process was started with the variable in its environment, as "NAME=value". Where that
// cannot be seen it is false: a program that writes its own title may overwrite it.
func HasEnv(pid int, variable string) bool {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	return err == nil && slices.Contains(strings.Split(string(env), "\x00"), variable)
}
