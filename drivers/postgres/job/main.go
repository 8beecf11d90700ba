package job

import (
	"context"

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
			Capture: w.capture, Copy: w.copy, Expire: w.expire, Promote: w.promote, Drill: w.drill, Seed: w.seed, Restore: w.restore,
			Prove: w.prove, Search: w.search,
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
