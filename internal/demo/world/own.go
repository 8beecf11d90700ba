package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/cluster"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/internal/demo/programs"
)

// downTimeout bounds how long taking a world away may last.
const downTimeout = 2 * time.Minute

// tagName is the variable that everything started in a world inherits.
const tagName = "LIFEBOAT_DEMO_WORLD"

func (w *World) tag() string { return tagName + "=" + w.state.ID }

// Env is the environment of commands that are run in the world.
func (w *World) Env() []string { return append(os.Environ(), w.tag()) }

// belongs reports whether a process is the world's by itself: what its owner started and wrote down, what inherited the
// world's tag, and the servers in its folder.
func (w *World) belongs(info process.Info) bool {
	return slices.Contains(w.state.Processes, info.ID) || w.serves(info, w.dir) || process.HasEnv(info.PID, w.tag())
}

// finder gives a function that lists the processes for which match holds, and all that descend from them. What was
// found once stays found: the child of a killed server has another parent. The caller and those above it are never
// among them.
func finder(match func(process.Info) bool) func() ([]process.Info, error) {
	known := map[process.ID]bool{}
	return func() ([]process.Info, error) {
		table, err := process.Table()
		if err != nil {
			return nil, err
		}
		above := process.Ancestors(table)
		var roots []process.ID
		for _, info := range table {
			if known[info.ID] || match(info) {
				roots = append(roots, info.ID)
			}
		}
		found := slices.DeleteFunc(process.Descendants(table, roots...), func(i process.Info) bool { return above[i.PID] })
		for _, info := range found {
			known[info.ID] = true
		}
		return found, nil
	}
}

// ownPrograms are the hidden programs of the binary that name folders of the host that they run on: our services, and what
// Lifeboat runs on hosts.
var ownPrograms = []string{programs.Shop, programs.NameServer, "pg-receiver", "pg-job", "files-job"}

// serves reports whether a process is a server in a folder: PostgreSQL, with its data folder there, or a hidden program
// of ours with a file there. A reader's editor or pager that names such a file is none.
func (w *World) serves(info process.Info, folder string) bool {
	inside := func(arg string) bool {
		_, path, _ := strings.Cut(arg, "/") // also of file:/path
		return strings.HasPrefix(filepath.Clean("/"+path), folder+"/")
	}
	switch program := filepath.Base(info.Args[0]); {
	case program == "postgres":
		i := slices.Index(info.Args, "-D")
		return i > 0 && i+1 < len(info.Args) && inside(info.Args[i+1]) || inside(process.Folder(info.PID))
	case strings.HasPrefix(info.Args[0], "postgres: "): // a backend's title; its working folder is the data folder
		return inside(process.Folder(info.PID))
	case len(info.Args) > 2 && slices.Contains(ownPrograms, info.Args[1]):
		return slices.ContainsFunc(info.Args[2:], inside)
	}
	return false
}

// Destroy kills everything that runs in a site, PostgreSQL with all its processes and the shop, with SIGKILL, and takes
// the site's folder away: to where it moved is returned. What is left is what is left of a machine whose power and disk
// are gone.
func (w *World) Destroy(ctx context.Context, site string) (lost string, killed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	folder := w.path(site)
	segments := cluster.Segments(folder)
	dead, err := process.Kill(ctx, finder(func(i process.Info) bool { return w.serves(i, folder) }))
	if err != nil {
		return "", len(dead), err
	}
	for _, segment := range segments {
		segment.Remove()
	}
	for n := 1; lost == "" || exists(lost); n++ {
		lost = w.path(fmt.Sprintf("%s-lost-%d", site, n))
	}
	if err := os.Rename(folder, lost); err != nil {
		return "", len(dead), failure.WrapAs(failure.Denied, err, "take away", folder)
	}
	return lost, len(dead), nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Processes counts what runs in the world.
func (w *World) Processes() (int, error) {
	all, err := finder(w.belongs)()
	return len(all), err
}

// Down kills all that runs in the world, removes what it left in the kernel, and removes its folder. Whatever happens,
// it goes as far as it can.
func (w *World) Down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	segments := cluster.Segments(w.dir)
	_, err := process.Kill(ctx, finder(w.belongs))
	if err != nil {
		return err // a folder is not pulled away from under a server
	}
	w.reaped.Wait()
	for _, segment := range segments {
		segment.Remove()
	}
	return w.removeFolder()
}

// removeFolder removes what is in the folder, the state file last of all, and the folder itself if it was made for the
// world.
func (w *World) removeFolder() error {
	entries, err := os.ReadDir(w.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", w.dir)
	}
	for _, entry := range entries {
		if entry.Name() != stateFile {
			err = errors.Join(err, os.RemoveAll(w.path(entry.Name())))
		}
	}
	if err == nil {
		err = os.Remove(w.path(stateFile))
	}
	if err == nil {
		if removed := os.Remove(w.dir); w.state.Made {
			err = removed
		}
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "remove", w.dir)
	}
	return nil
}
