package pglog

import (
	"context"
	"log/slog"
	"os"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Program is the first word of the command line that runs a receiver: lifeboat pg-receiver FOLDER.
const Program = "pg-receiver"

// Main runs the receiver whose folder is args[0]: its configuration is there (Config.Save), and it leaves its state there
// (ReadState). Only one runs in a folder: another one ends at once with Conflict. It ends in order, with everything flushed
// and folded as far as that is possible in a few seconds, by SIGTERM; a configuration that is replaced is picked up.
func Main(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return failure.New(failure.Invalid, Program, "", "it is started by lifeboat itself, with the folder of a receiver")
	}
	c, err := load(args[0])
	if err != nil {
		return err
	}
	return Run(ctx, Options{Config: c, Folder: args[0], Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

// Options are what a receiver is run with.
type Options struct {
	Config Config
	Folder string // for its state and its lock
	Log    *slog.Logger
}

// Run receives and folds until ctx ends, then flushes, folds what is left for as long as DrainFor, and returns nil. Whatever the
// server, the network or the vault does, it goes on and says so in its state. Errors: Invalid for a configuration that
// cannot be, Conflict when another receiver runs in the folder, Denied when folder or spool cannot be written.
func Run(ctx context.Context, o Options) error {
	return failure.New(failure.Unsupported, "receive", "", "not yet")
}
