//go:build !linux

package process

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// seen is an Info with what only this package needs.
type seen struct {
	Info
	zombie bool
}

// Table gives all processes that are running now, zombies left out.
func Table() ([]Info, error) {
	all, err := ps("-ax")
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "list processes", "ps")
	}
	var table []Info
	for _, info := range all {
		if !info.zombie && len(info.Args) > 0 {
			table = append(table, info.Info)
		}
	}
	return table, nil
}

func look(pid int) (seen, error) {
	found, err := ps("-p", strconv.Itoa(pid))
	if err != nil {
		return seen{}, err
	}
	if len(found) != 1 {
		return seen{}, errors.New("no such process")
	}
	return found[0], nil
}

// ps asks ps(1). lstart is five words: "Sat Nov 21 03:39:02 2026". Arguments with blanks in them come apart.
func ps(which ...string) ([]seen, error) {
	args := append([]string{"-ww", "-o", "pid=,ppid=,uid=,stat=,lstart=,command="}, which...)
	cmd := exec.Command("ps", args...)
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC"}
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var table []seen
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		parent, err2 := strconv.Atoi(f[1])
		uid, err3 := strconv.Atoi(f[2])
		if errors.Join(err1, err2, err3) != nil {
			continue
		}
		s := seen{zombie: strings.HasPrefix(f[3], "Z")}
		s.Info = Info{ID: ID{PID: pid, Start: strings.Join(f[4:9], " ")}, Parent: parent, UID: uid, Args: f[9:]}
		table = append(table, s)
	}
	return table, nil
}

// Folder is the process's working folder, or "" where it cannot be seen, as here.
func Folder(pid int) string { return "" }

// HasEnv reports whether the process was started with the variable in its environment, as "NAME=value". It cannot be
// seen here and is false.
func HasEnv(pid int, variable string) bool { return false }
