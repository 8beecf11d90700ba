package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/lifeboat-dr/lifeboat/test/bench/measured"
)

// options are the flags.
type options struct {
	lifeboat, restic string // programs
	dir              string // where the temporary folder is made
	rounds, scale    int
	stages           bool
	only             string // "": both tools
}

func main() {
	var o options
	flag.StringVar(&o.lifeboat, "lifeboat", "bin/lifeboat", "the `program` to be measured")
	flag.StringVar(&o.restic, "restic", "restic", "the `program` to compare with")
	flag.StringVar(&o.dir, "dir", "", "make the temporary `folder` here: 7 GB at scale 1 (default: the system's)")
	flag.IntVar(&o.rounds, "rounds", 3, "do everything `N` times")
	flag.IntVar(&o.scale, "scale", 1, "divide the data set by `N`")
	flag.BoolVar(&o.stages, "stages", false, "measure what each stage costs one core, and nothing else")
	flag.StringVar(&o.only, "only", "", "measure this `tool` alone: lifeboat or restic")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-vault:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.stages {
		return printStages(os.Stdout)
	}
	if o.scale < 1 || o.rounds < 1 {
		return errors.New("-scale and -rounds are at least 1")
	}
	tools, err := findTools(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "lifeboat-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(os.Stderr, "generating the data set in", dir)
	d, err := generate(ctx, filepath.Join(dir, "data"), o.scale)
	if err != nil {
		return err
	}
	b := &bench{dir: dir, data: d, scale: o.scale, tools: tools, results: map[key][]measured.Process{}}
	for i := range o.rounds {
		if err := b.round(ctx, i); err != nil {
			return err
		}
	}
	b.print(os.Stdout, o.rounds)
	return nil
}

// findTools gives both programs with their whole paths, for they run in another folder.
func findTools(o options) ([]tool, error) {
	var tools []tool
	for _, t := range []tool{{name: "lifeboat", path: o.lifeboat, prefix: []string{"vault"}, yes: "--yes"}, {name: "restic", path: o.restic}} {
		if o.only != "" && o.only != t.name {
			continue
		}
		path, err := exec.LookPath(t.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (make build; ./test/servers/install.sh restic)", t.name, err)
		}
		if t.path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		tools = append(tools, t)
	}
	return tools, nil
}
