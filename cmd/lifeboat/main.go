// Command lifeboat keeps applications recoverable at a second site, moves them there and back by one durable plan, and
// measures that it can. This file only wires the parts together: the command line is internal/cli, what it calls is
// internal/service.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/orchestrator"
	filesjob "github.com/lifeboat-dr/lifeboat/drivers/files/job"
	pgjob "github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/cli"
	"github.com/lifeboat-dr/lifeboat/internal/config"
	"github.com/lifeboat-dr/lifeboat/internal/demo"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
	"github.com/lifeboat-dr/lifeboat/internal/rehearsal"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/internal/vaultservice"
	"github.com/lifeboat-dr/lifeboat/model"
)

// version is set by the build.
var version = "devel"

func main() {
	if len(os.Args) > 1 && os.Args[1] == ask.Program { // PostgreSQL starts it once for each segment of a recovery
		os.Exit(ask.Main(os.Args[2:], os.Stderr))
	}
	ctx := context.Background()
	if len(os.Args) > 1 && os.Args[1] == rehearsal.Program {
		rehearsal.Main(all.On)
	}
	if len(os.Args) > 1 && os.Args[1] == demo.ProgramOnAWS {
		demo.MainOnAWS(onStandIn(memory.NewDB()))
	}
	if len(os.Args) > 1 {
		if program, ok := hidden()[os.Args[1]]; ok {
			runHidden(ctx, program)
			return
		}
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// A reader who goes away, as in `lifeboat vault dump ... | head`, is an error of writing: what is held, such as a vault's
	// lock, is given up before the process ends.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Deps{
		Open: func(ctx context.Context, opt cli.OpenOptions) (api.Service, error) {
			base := awsbase.New(awsbase.Options{Log: opt.Log})
			return service.Open(ctx, service.Options{Config: opt.Config, State: opt.State, Drivers: all.On(opt.Log, base), Payloads: orchestrator.New(base), Log: opt.Log})
		},
		Documents: service.Documents{Drivers: all.Registry(slog.New(slog.DiscardHandler))},
		Vaults:    vaults,
		Demo:      runDemo,
		Rehearsals: func(opt cli.OpenOptions) api.Rehearsals {
			return rehearsal.New(rehearsal.Options{Config: opt.Config, State: opt.State, Drivers: all.On, Log: opt.Log, Play: rehearsal.Apart(self(), opt.Log)})
		},
		Version: version,
		Signals: signals,
	}))
}

// onStandIn is the command line for the demo on AWS: in this process, on a stand-in, with a journal that its commands share.
func onStandIn(db *memory.DB) demo.Lifeboat {
	return func(ctx context.Context, http *awstest.Client, words []string, out, errs io.Writer) error {
		var opened []*awsbase.Base
		code := cli.Main(ctx, words, cli.Deps{
			Open: func(ctx context.Context, opt cli.OpenOptions) (api.Service, error) {
				base := awsbase.New(awsbase.Options{Log: opt.Log, HTTP: http})
				opened = append(opened, base)
				return service.Open(ctx, service.Options{Config: opt.Config, State: opt.State, Drivers: all.On(opt.Log, base), Log: opt.Log,
					Journal: func(context.Context) (journal.Store, error) { return db.Open(), nil }})
			},
			Documents: service.Documents{Drivers: all.Registry(slog.New(slog.DiscardHandler))},
			Version:   version, In: strings.NewReader(""), Out: out, Err: errs,
		})
		for _, base := range opened {
			base.Wait()
		}
		if code != cli.ExitSuccess {
			return fmt.Errorf("exit code %d", code)
		}
		return nil
	}
}

// self is this program, to be started again; the name that it was started by where the system does not tell.
func self() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return os.Args[0]
}

// hidden are the programs that this binary starts by itself: the demonstration's, and the jobs of drivers on hosts.
func hidden() map[string]func(context.Context, []string) error {
	all := demo.Hidden()
	all[filesjob.Program] = filesjob.Main
	all[pgjob.Program] = pgjob.Main
	all[pglog.Program] = pglog.Main
	return all
}

// vaultGC is how much garbage, in percent of what is in use, a vault's work may leave. Most of what it uses is large and
// used again and again (packs, chunks), so collecting is cheap, and waiting for twice as much is not.
const vaultGC = 20

// vaults answers `lifeboat vault`. The configuration is read only when a vault is named by its name there.
func vaults(opt cli.OpenOptions, stderr io.Writer) api.Vaults {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(vaultGC)
	}
	return vaultservice.New(vaultservice.Options{Log: opt.Log, Stderr: stderr, Program: "lifeboat " + version, Named: func(_ context.Context, name string) (*model.Vault, error) {
		var known []model.Vault
		if opt.Config != "" {
			cfg, err := config.Load(opt.Config, all.Registry(opt.Log))
			if err != nil {
				return nil, err
			}
			known = cfg.Vaults
		}
		for _, v := range known {
			if v.Name == name {
				return &v, nil
			}
		}
		return nil, failure.New(failure.NotFound, "find the vault", name, "lifeboat.yaml names no such vault")
	}})
}

func runDemo(ctx context.Context, opt cli.DemoOptions) error {
	if opt.Stop != "" {
		return demo.Stop(ctx, opt.Stop, opt.Out)
	}
	err := demo.Run(ctx, demo.Options{JSON: opt.JSON, DB: world.Recovery(opt.DB), Keep: opt.Keep, Dir: opt.Dir, Out: opt.Out, Err: opt.Err})
	if errors.Is(err, demo.ErrNotWell) {
		return errors.Join(cli.ErrUnsuccessful, err)
	}
	return err
}

func runHidden(ctx context.Context, program func(context.Context, []string) error) {
	if err := program(ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "lifeboat "+os.Args[1]+":", err)
		os.Exit(1)
	}
}
