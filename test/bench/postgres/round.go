package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/test/bench/measured"
)

// The tools.
const (
	ours   = "lifeboat"
	theirs = "pgbackrest"
)

// The steps, in order. Their names are lines of the table.
const (
	full      = "full backup"
	restore   = "restore"
	changed   = "backup after changes"
	unchanged = "backup, nothing changed"
	protocol  = "full backup, by protocol"
)

var steps = []string{full, restore, changed, unchanged, protocol}

// key is a cell of the table.
type key struct{ tool, step string }

type bench struct {
	*cluster
	counted
	results map[key][]measured.Process
}

// round does every step once with each tool, in repositories of their own. Who goes first changes.
func (b *bench) round(ctx context.Context, n int) error {
	tools := []string{ours, theirs}
	if n%2 == 1 {
		slices.Reverse(tools)
	}
	if err := b.repositories(ctx); err != nil {
		return err
	}
	for _, s := range steps {
		switch s {
		case changed:
			if err := b.change(ctx); err != nil {
				return err
			}
		case protocol:
			if err := b.run(ctx, b.self, b.task("init", "-vault", b.path("vault-2"))...); err != nil {
				return err
			}
		}
		for _, t := range tools {
			if s == protocol && t == theirs {
				continue // it has none
			}
			if err := b.step(ctx, n, s, t); err != nil {
				return err
			}
		}
		if s == restore {
			if err := b.same(); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"vault", "vault-2", "pgbackrest"} {
		if err := os.RemoveAll(b.path(name)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) repositories(ctx context.Context) error {
	return errors.Join(b.run(ctx, b.self, b.task("init", "-vault", b.path("vault"))...), b.run(ctx, b.rest, "--stanza=demo", "--no-online", "stanza-create"))
}

// task is the command line of this program for a task.
func (b *bench) task(what string, more ...string) []string {
	return append([]string{"-do", what}, more...)
}

func (b *bench) step(ctx context.Context, n int, s, t string) error {
	program, args, repo := b.self, []string(nil), b.path("vault")
	capture := b.task("capture", "-vault", repo, "-folder", b.path("data"), "-port", strconv.Itoa(b.port))
	switch {
	case t == theirs:
		program, repo = b.rest, b.path("pgbackrest")
		args = []string{"--stanza=demo", "--type=incr", "backup"}
		if s == full {
			args[1] = "--type=full"
		}
		if s == restore {
			args = []string{"--stanza=demo", "--type=none", "--pg1-path=" + b.path("restored-"+t), "restore"}
			if err := b.emptyFolder("restored-" + t); err != nil {
				return err
			}
		}
	case s == restore:
		args = b.task("restore", "-vault", repo, "-target", b.path("restored-"+t))
	case s == protocol:
		repo = b.path("vault-2")
		args = b.task("capture", "-protocol", "-vault", repo, "-port", strconv.Itoa(b.port))
	default:
		args = capture
	}
	before, err := measured.Size(repo)
	if err != nil {
		return err
	}
	m, err := measured.Run(b.command(ctx, program, args...))
	if err != nil {
		return fmt.Errorf("%s, %s: %w", t, s, err)
	}
	after, err := measured.Size(repo)
	if err != nil {
		return err
	}
	m.Added = after - before
	b.results[key{t, s}] = append(b.results[key{t, s}], m)
	load, _ := os.ReadFile("/proc/loadavg") // elsewhere it is not said
	fmt.Fprintf(os.Stderr, "round %d: %-10s %-26s %6.2f s, %6.2f s of processors, %4d MiB, %+.1f MB stored (load %s)\n",
		n+1, t, s, m.Wall.Seconds(), m.CPU.Seconds(), m.RSS>>20, float64(m.Added)/1e6, strings.TrimSpace(string(load)))
	return nil
}

// emptyFolder makes a folder of the server's user, which pgBackRest does not make itself.
func (b *bench) emptyFolder(name string) error {
	if err := os.Mkdir(b.path(name), 0o700); err != nil || b.who == nil {
		return err
	}
	return os.Chown(b.path(name), int(b.who.Uid), int(b.who.Gid))
}

// same compares what both restored with the data: nothing has written to it since. Then it removes what they restored.
func (b *bench) same() error {
	var buffers measured.Buffers
	err := relations(b.path("data"), func(rel, path string) error {
		for _, t := range []string{ours, theirs} {
			if err := buffers.SameFile(path, filepath.Join(b.path("restored-"+t), rel)); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, os.RemoveAll(b.path("restored-"+ours)), os.RemoveAll(b.path("restored-"+theirs)))
}

// change lets pgbench's own transactions change pages until about as many differ as are wanted, and counts them.
func (b *bench) change(ctx context.Context) error {
	before, err := b.count(ctx)
	if err != nil {
		return err
	}
	// A transaction changes a page of accounts and one of their index, here and there; the other tables are small.
	transactions := int(float64(before.Pages) * b.changed / 100 / 2.05)
	clients := runtime.NumCPU()
	if err := b.pgbench(ctx, "-n", "-c", strconv.Itoa(clients), "-t", strconv.Itoa(max(1, transactions/clients))); err != nil {
		return err
	}
	if err := b.sql(ctx, "checkpoint"); err != nil {
		return err
	}
	b.counted, err = b.count(ctx)
	return errors.Join(err, os.Remove(b.path("sums")))
}

// count counts pages, and those that differ from the last time, in a process of its own: what this one has in memory would
// count for those that it starts.
func (b *bench) count(ctx context.Context) (c counted, err error) {
	out, err := b.command(ctx, b.self, b.task("pages", "-folder", b.path("data"), "-target", b.path("sums"))...).Output()
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(out, &c)
}
