package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

const password = "benchmark"

var whose = pgpoint.Whose{App: "bench", Resource: "db"}

// task is one thing that Lifeboat does, in a process of its own, as a job would.
type task struct {
	vault, folder, target string
	port                  int
	protocol              bool
	profile               string
}

func (t *task) flags() {
	flag.StringVar(&t.vault, "vault", "", "of the task")
	flag.StringVar(&t.folder, "folder", "", "of the task: the data folder")
	flag.StringVar(&t.target, "target", "", "of the task: where to restore to")
	flag.IntVar(&t.port, "port", 0, "of the task: the server's")
	flag.BoolVar(&t.protocol, "protocol", false, "of the task: do not read the data folder")
	flag.StringVar(&t.profile, "profile", "", "of the task: write a profile of the processor's time there")
}

func (t *task) run(ctx context.Context, what string) error {
	debug.SetGCPercent(20) // as the program has it
	end, err := t.profiled()
	if err != nil {
		return err
	}
	defer end()
	if what == "pages" {
		return t.pages()
	}
	store, err := file.Open(t.vault)
	if err != nil {
		return err
	}
	if what == "init" {
		_, err := vault.Init(ctx, store, password, vault.Options{})
		return err
	}
	v, err := vault.Open(ctx, store, password, vault.Options{})
	if err != nil {
		return err
	}
	switch what {
	case "capture":
		return t.capture(ctx, v)
	case "restore":
		return t.restore(ctx, v)
	}
	return fmt.Errorf("no such task: %s", what)
}

func (t *task) capture(ctx context.Context, v *vault.Vault) error {
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable", t.port))
	if err != nil {
		return err
	}
	o := pgbase.Options{Whose: whose, Site: "here", Server: cfg, Fast: true, Folder: t.folder}
	if t.protocol {
		o.Folder = ""
	}
	res, err := pgbase.Capture(ctx, v, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res.Stats)
}

// restore brings the newest base point's data folder back.
func (t *task) restore(ctx context.Context, v *vault.Vault) error {
	points, err := pgpoint.Bases(ctx, v, whose)
	if err != nil {
		return err
	}
	if len(points) == 0 {
		return fmt.Errorf("there is no base point in %s", t.vault)
	}
	data, err := v.Find(ctx, *points[len(points)-1].Snapshot.Tree, pgpoint.DataPath)
	if err != nil {
		return err
	}
	_, err = restorer.Run(ctx, v, *data.Subtree, restorer.Options{Target: t.target, Root: data, Sync: true})
	return err
}
