package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/lifeboat-dr/lifeboat/test/bench/measured"
)

// options are the flags.
type options struct {
	dir           string
	rounds, scale int
	changed       float64
	rest          string
	do            string
	task          task
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "make the temporary `folder` here: 10 GB (default: the system's)")
	flag.IntVar(&o.rounds, "rounds", 3, "do everything `N` times")
	flag.IntVar(&o.scale, "scale", 150, "pgbench's scale: `N` times 15 MB")
	flag.Float64Var(&o.changed, "changed", 2, "change so many `percent` of the pages")
	flag.StringVar(&o.rest, "pgbackrest", "pgbackrest", "the `program` to compare with")
	flag.StringVar(&o.do, "do", "", "for the program itself: one `task`, in a process of its own")
	o.task.flags()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-postgres:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.do != "" {
		return o.task.run(ctx, o.do)
	}
	if o.scale < 1 || o.rounds < 1 || o.changed <= 0 || o.changed > 50 {
		return errors.New("-scale and -rounds are at least 1, -changed is a share of the pages in percent")
	}
	c, err := newCluster(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.remove()) }()
	b := &bench{cluster: c, results: map[key][]measured.Process{}}
	for i := range o.rounds {
		if err := b.round(ctx, i); err != nil {
			return err
		}
	}
	return b.print(os.Stdout, o.rounds)
}
