package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/test/bench/measured"
)

// tool is a program that speaks restic's command line.
type tool struct {
	name, path string
	prefix     []string // before the command
	yes        string   // behind a command that destroys
}

// step is one command that is measured. Its name is a line of the table.
type step struct {
	name  string
	args  []string
	bytes bool // its speed in MB/s of the data set means something
}

// The steps, in order. DATA and TARGET stand for folders, YES for the tool's way to say that it need not ask.
var steps = []step{
	{name: "first backup", args: []string{"backup", "DATA"}, bytes: true},
	{name: "unchanged", args: []string{"backup", "DATA"}},
	{name: "2 % of the pages changed", args: []string{"backup", "DATA"}},
	{name: "check", args: []string{"check"}},
	{name: "check --read-data", args: []string{"check", "--read-data"}},
	{name: "restore", args: []string{"restore", "latest", "--target", "TARGET"}, bytes: true},
	{name: "forget and prune", args: []string{"forget", "--keep-last", "1", "--prune", "YES"}},
}

// changeBefore is the step before which pages are changed.
const changeBefore = "2 % of the pages changed"

// key is a cell of the table.
type key struct{ tool, step string }

type bench struct {
	dir     string
	data    dataset
	scale   int
	changed int64
	tools   []tool
	results map[key][]measured.Process
}

// round does every step once with each tool, in repositories of their own. Who goes first changes.
func (b *bench) round(ctx context.Context, n int) error {
	tools := slices.Clone(b.tools)
	if n%2 == 1 {
		slices.Reverse(tools)
	}
	for _, t := range tools {
		if _, err := b.measure(ctx, t, []string{"init"}); err != nil {
			return err
		}
	}
	for _, s := range steps {
		if s.name == changeBefore {
			var err error
			if b.changed, err = b.data.change(b.scale, uint64(n)); err != nil {
				return err
			}
		}
		for _, t := range tools {
			before, err := measured.Size(b.repo(t))
			if err != nil {
				return err
			}
			m, err := b.measure(ctx, t, s.args)
			if err != nil {
				return err
			}
			after, err := measured.Size(b.repo(t))
			if err != nil {
				return err
			}
			m.Added = after - before
			k := key{t.name, s.name}
			b.results[k] = append(b.results[k], m)
			fmt.Fprintf(os.Stderr, "round %d: %-9s %-26s %7.2f s, %6.2f s of processors, %4d MiB, %+d MB stored\n",
				n+1, t.name, s.name, m.Wall.Seconds(), m.CPU.Seconds(), m.RSS>>20, m.Added/1e6)
			if s.name == "restore" {
				if err := b.restored(t); err != nil {
					return fmt.Errorf("%s: %w", t.name, err)
				}
			}
		}
	}
	for _, t := range tools {
		if err := os.RemoveAll(b.repo(t)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) repo(t tool) string   { return filepath.Join(b.dir, "repo-"+t.name) }
func (b *bench) target(t tool) string { return filepath.Join(b.dir, "target-"+t.name) }

// measure runs one command to its end. What earlier ones wrote is on disk before it starts, and in the page cache.
func (b *bench) measure(ctx context.Context, t tool, args []string) (measured.Process, error) {
	args = slices.Concat(t.prefix, args)
	for i, a := range args {
		switch a {
		case "DATA":
			args[i] = b.data.root
		case "TARGET":
			args[i] = b.target(t)
		case "YES":
			args[i] = t.yes
		}
	}
	args = slices.DeleteFunc(args, func(a string) bool { return a == "" })
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+b.repo(t), "RESTIC_PASSWORD=benchmark", "XDG_CACHE_HOME="+filepath.Join(b.dir, "cache-"+t.name))
	m, err := measured.Run(cmd)
	if err != nil {
		return m, fmt.Errorf("%s %s: %w", t.name, strings.Join(args, " "), err)
	}
	return m, nil
}

// restored compares what a tool restored with the data, byte by byte, and removes it.
func (b *bench) restored(t tool) error {
	root := filepath.Join(b.target(t), b.data.root)
	files := 0
	var buffers measured.Buffers
	err := filepath.WalkDir(b.data.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		rel, err := filepath.Rel(b.data.root, path)
		if err != nil {
			return err
		}
		return buffers.SameFile(path, filepath.Join(root, rel))
	})
	if err == nil && files != b.data.files {
		err = fmt.Errorf("the data set has %d files instead of %d", files, b.data.files)
	}
	return errors.Join(err, os.RemoveAll(b.target(t)))
}
