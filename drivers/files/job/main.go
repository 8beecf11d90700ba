package job

import (
	"context"
	"os"
	"path/filepath"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
)

// Main runs the job whose folder is args[0]. Its error was written down for whoever watches.
func Main(ctx context.Context, args []string) error {
	return vaultjob.Main(ctx, Program, args, func(ctx context.Context, j *vaultjob.Job) error {
		w := &worker{Job: j}
		if err := j.Request(&w.req); err != nil {
			return err
		}
		if err := w.req.Open(); err != nil {
			return err
		}
		ops := map[Op]func(context.Context) error{
			Capture: w.capture, Quiesce: w.quiesce, Promote: w.promote, Follow: w.follow, Drill: w.drill, Copy: w.copy, Expire: w.expire,
		}
		op, ok := ops[w.req.Op]
		if !ok {
			return vaultjob.Unknown(Program, string(w.req.Op))
		}
		return op(ctx)
	})
}

// worker does one request.
type worker struct {
	*vaultjob.Job
	req Request
}

// rename moves a folder and makes that durable.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return failure.WrapAs(failure.Denied, err, "rename", from)
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "open", filepath.Dir(to))
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "flush", filepath.Dir(to))
	}
	return nil
}

func exists(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		return false, nil
	case err != nil:
		return false, failure.WrapAs(failure.Denied, err, "look at", path)
	case !info.IsDir():
		return false, failure.New(failure.Conflict, "look at", path, "it is no folder")
	}
	return true, nil
}
