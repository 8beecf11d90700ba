package world

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/cluster"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
)

// folderPrefix begins the names of worlds' folders among temporary files.
const folderPrefix = "lifeboat-demo-"

// stateFile is in every world's folder, first to come and last to go.
const stateFile = "world.json"

// stateFormat is the version of the state file.
const stateFormat = 1

// state is what a world writes down about itself, so that another process can prove what belongs to it.
type state struct {
	Format    int          `json:"lifeboat_demo_world"`
	ID        string       `json:"id"`
	Dir       string       `json:"dir"`
	Made      bool         `json:"made"` // the folder itself was made for the world
	Created   time.Time    `json:"created"`
	Owner     process.ID   `json:"owner"` // whoever runs the demo
	Kept      bool         `json:"kept"`  // the owner has left it running, on purpose
	Ports     Ports        `json:"ports"`
	Processes []process.ID `json:"processes"` // started by the owner itself
}

func newState(dir, id string, made bool) state {
	return state{Format: stateFormat, ID: id, Dir: dir, Made: made, Created: time.Now().UTC(), Owner: process.Self()}
}

// save replaces the state file as a whole.
func (w *World) save() error {
	b, err := json.MarshalIndent(w.state, "", "  ")
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", stateFile)
	}
	tmp := w.path("." + stateFile)
	if err = os.WriteFile(tmp, append(b, '\n'), 0o644); err == nil {
		err = os.Rename(tmp, w.path(stateFile))
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", w.path(stateFile))
	}
	return nil
}

// Keep leaves the world running when its owner ends.
func (w *World) Keep() error {
	w.state.Kept = true
	return w.save()
}

// Open finds a world again by its folder. A folder that is none is failure.NotFound. The world is believed only when
// the folder and its state file belong to the caller and name each other.
func Open(dir string) (*World, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, failure.WrapAs(failure.NotFound, err, "open demo", dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, failure.New(failure.NotFound, "open demo", dir, "there is no %s in it", stateFile).
			WithHint("name the folder that `lifeboat demo --keep` printed")
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil || s.Format == 0 || s.ID == "" {
		return nil, failure.New(failure.Corrupt, "open demo", dir, "%s is not what a demo writes", stateFile)
	}
	if s.Format > stateFormat {
		return nil, failure.New(failure.Unsupported, "open demo", dir, "it was made by a later release")
	}
	if s.Dir != dir || !ours(dir) || !ours(filepath.Join(dir, stateFile)) {
		return nil, failure.New(failure.Denied, "open demo", dir, "it is not a demo of this user in this place")
	}
	w := &World{dir: dir, state: s, say: func(string, ...any) {}, inst: &cluster.Installation{}}
	return w, nil
}

// ours reports whether a file or folder, itself and no link, belongs to the caller.
func ours(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// CleanLeftovers takes away the worlds whose owner was killed before it could: among temporary files, and in dir when
// that is not empty. Worlds that run or are kept stay; one of those in dir itself is failure.Conflict.
func CleanLeftovers(ctx context.Context, dir string, say func(format string, args ...any)) error {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*")) // the pattern is well formed
	for _, folder := range folders {
		w, err := Open(folder)
		if err != nil || w.state.Kept || w.state.Owner.Alive() {
			continue
		}
		say("cleaning up after a demo that was killed: %s", folder)
		if err := w.Down(ctx); err != nil {
			say("could not clean %s: %v", folder, err) // it does not stand in the way of a new world
		}
	}
	if dir == "" {
		return nil
	}
	w, err := Open(dir)
	switch {
	case errors.Is(err, failure.NotFound):
		return nil // whatever else is wrong with it, claim tells
	case err != nil:
		return err
	case w.state.Kept:
		return failure.New(failure.Conflict, "use folder", dir, "a demo was kept there").WithHint("end it: lifeboat demo --stop %s", dir)
	case w.state.Owner.Alive():
		return failure.New(failure.Conflict, "use folder", dir, "a demo is running there (process %d)", w.state.Owner.PID)
	}
	say("cleaning up after a demo that was killed: %s", dir)
	return w.Down(ctx)
}
