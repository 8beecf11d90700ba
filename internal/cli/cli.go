// Package cli is Lifeboat's command line: it turns words into calls of [api.Service], [api.Vaults] and [api.Documents], and
// their replies into text or JSON. It decides nothing about recovery, and reaches nothing below the api: the same commands
// work on a service in this process and on one across the wire.
//
// Each command has a file of its own, with a constructor that knows flags (newX) and a function that does the work and
// knows none (runX). [Main] runs one command line and returns the process's exit code; what it needs from outside
// comes in [Deps]. Start reading at newRoot in root.go, for the vault's commands at newVault in vault.go; the exit codes are
// one table, in exit.go.
package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"time"

	"golang.org/x/term"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// Deps is what the command line needs from outside. Open, Documents and Version are required; what else is left zero
// becomes that of the process.
type Deps struct {
	// Open makes the service for one command. The caller closes it.
	Open func(ctx context.Context, opt OpenOptions) (api.Service, error)
	// Documents checks configuration files and renders reports.
	Documents api.Documents
	// Vaults makes the service of vaults for one command; nil where this build has none. OpenOptions.Config is empty when
	// there is no configuration; stderr is what programs write to that vaults start.
	Vaults func(opt OpenOptions, stderr io.Writer) api.Vaults
	// Demo runs the demonstration; nil where this build has none.
	Demo func(ctx context.Context, opt DemoOptions) error
	// Rehearsals makes what rehearses for one command; nil where this build has none.
	Rehearsals func(opt OpenOptions) api.Rehearsals
	// Version of this build.
	Version string

	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Getwd    func() (string, error)
	Now      func() time.Time
	// IsTerminal says whether In, Out or Err is a person's terminal.
	IsTerminal func(stream any) bool
	// Signals brings interrupts. The first one asks the command to leave tidily, the second makes Main return at once.
	Signals <-chan os.Signal
	// Whoami names the person at the keyboard, for the journal: user@host.
	Whoami func() string
	// NewKey makes an idempotency key that nobody made before.
	NewKey func() string
}

// OpenOptions say which Lifeboat to open.
type OpenOptions struct {
	Config string       // the path of lifeboat.yaml
	State  string       // a state folder in place of the configured one; empty: the configured one
	Log    *slog.Logger // never nil
}

// DemoOptions steer the demonstration.
type DemoOptions struct {
	JSON bool   // one JSON document on Out in place of tables
	DB   string // where the database comes back from: standby, vault or aws
	Keep bool   // leave the demonstration's world running
	Dir  string // the folder of that world; empty: a new temporary one
	Stop string // end the world that was kept in this folder, and do nothing else
	Out  io.Writer
	Err  io.Writer
}

func (d Deps) withDefaults() Deps {
	setDefault(&d.In, io.Reader(os.Stdin))
	setDefault(&d.Out, io.Writer(os.Stdout))
	setDefault(&d.Err, io.Writer(os.Stderr))
	if d.Getenv == nil {
		d.Getenv = os.Getenv
	}
	if d.Getwd == nil {
		d.Getwd = os.Getwd
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.IsTerminal == nil {
		d.IsTerminal = isTerminal
	}
	if d.Whoami == nil {
		d.Whoami = whoami
	}
	if d.NewKey == nil {
		d.NewKey = newKey
	}
	return d
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func whoami() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if name == "" {
		name = fmt.Sprintf("uid-%d", os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return name
	}
	return name + "@" + host
}

func newKey() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// Main runs one command line, without the program's name, and returns the exit code. On the second signal it returns
// without waiting for the command: the process is expected to exit.
func Main(ctx context.Context, args []string, deps Deps) int {
	deps = deps.withDefaults()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan int, 1)
	go func() { done <- execute(ctx, args, deps) }()

	select {
	case code := <-done:
		return code
	case <-deps.Signals:
		cancel(errInterrupted)
	}
	select {
	case code := <-done:
		return code
	case <-deps.Signals:
		fmt.Fprintln(deps.Err, "lifeboat: left at once")
		return failure.Canceled.ExitCode()
	}
}

// execute runs the command tree and turns its error into output and an exit code.
func execute(ctx context.Context, args []string, deps Deps) int {
	inv := &invocation{Deps: deps, lines: newLineReader(deps.In)}
	root := newRoot(inv)
	root.SetArgs(args)
	root.SetOut(deps.Out)
	root.SetErr(deps.Err)
	root.SetIn(deps.In)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitSuccess
	}
	var q quiet
	if !errors.As(err, &q) {
		inv.fail(args, err)
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return failure.Canceled.ExitCode()
	}
	return exitCode(err)
}
