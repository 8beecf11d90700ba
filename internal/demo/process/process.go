// Package process names processes so that a number used again cannot stand for a dead one, finds who descends from
// whom, and ends exactly those that it was told to.
//
// A process is known by its [ID]: number and start. It is not a supervisor; whoever starts a child waits for it.
// Start with [Table].
package process

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// ID names one process for good. Start is opaque: it differs between two processes that had the same number, also
// across reboots.
type ID struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// Info is a process as it was seen.
type Info struct {
	ID
	Parent int
	UID    int
	Args   []string // empty for a zombie
}

// Find gives the process that has a number now.
func Find(pid int) (ID, bool) {
	info, err := look(pid)
	return info.ID, err == nil && !info.zombie
}

// Self is the calling process.
func Self() ID {
	id, _ := Find(os.Getpid())
	return id
}

// Alive reports whether the process still runs. A zombie does not.
func (id ID) Alive() bool {
	now, ok := Find(id.PID)
	return ok && now == id
}

// Signal sends sig to the process if it is still the one that was meant. Otherwise nothing happens and sent is false.
func (id ID) Signal(sig os.Signal) (sent bool, err error) {
	p, err := os.FindProcess(id.PID) // holds on to the process where the kernel has handles for it (Linux)
	if err != nil {
		return false, nil
	}
	defer p.Release()
	if !id.Alive() {
		return false, nil
	}
	switch err := p.Signal(sig); {
	case err == nil:
		return true, nil
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return false, nil
	default:
		return false, err
	}
}

// Descendants gives the roots that are in the table, and all that descend from them.
func Descendants(table []Info, roots ...ID) []Info {
	in := map[int]bool{}
	for _, root := range roots {
		if slices.ContainsFunc(table, func(i Info) bool { return i.ID == root }) {
			in[root.PID] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, info := range table {
			if in[info.Parent] && !in[info.PID] {
				in[info.PID], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(table), func(i Info) bool { return !in[i.PID] })
}

// Ancestors gives the numbers of the calling process and all above it.
func Ancestors(table []Info) map[int]bool {
	parents := map[int]int{}
	for _, info := range table {
		parents[info.PID] = info.Parent
	}
	line := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !line[pid]; pid = parents[pid] {
		line[pid] = true
	}
	return line
}

// Kill ends with SIGKILL all that find gives, and asks again until it gives none. They are stopped first, all of them:
// none sees another die, tidies up or starts a new one, as when the power fails. It returns those that it killed, and
// failure.Unavailable when some are still there as ctx ends.
func Kill(ctx context.Context, find func() ([]Info, error)) ([]Info, error) {
	var killed []Info
	for {
		found, err := freeze(find)
		if err != nil {
			return killed, err
		}
		if len(found) == 0 {
			return killed, nil
		}
		for _, info := range found {
			sent, err := info.Signal(os.Kill)
			if err != nil {
				return killed, failure.WrapAs(failure.Denied, err, "kill", info.Args[0])
			}
			known := slices.ContainsFunc(killed, func(k Info) bool { return k.ID == info.ID })
			if sent && !known {
				killed = append(killed, info)
			}
		}
		select {
		case <-ctx.Done():
			return killed, failure.WrapAs(failure.Unavailable, context.Cause(ctx), "kill", found[0].Args[0])
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// freeze stops all that find gives, until it gives no new one.
func freeze(find func() ([]Info, error)) ([]Info, error) {
	frozen := map[ID]bool{}
	for {
		found, err := find()
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, info := range found {
			if frozen[info.ID] {
				continue
			}
			if _, err := info.Signal(syscall.SIGSTOP); err != nil {
				return nil, failure.WrapAs(failure.Denied, err, "stop", info.Args[0])
			}
			frozen[info.ID], fresh = true, true
		}
		if !fresh {
			return found, nil
		}
	}
}
