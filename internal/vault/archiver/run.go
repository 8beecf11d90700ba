package archiver

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Run backs up what o says and commits a snapshot of it. With a session of [vault.Vault.NewRehearsal] everything is read
// and nothing is stored.
//
// NotFound: none of the paths is there. Invalid: a pattern, a path or a virtual file cannot be. What single files are
// missing is no error: see Options.OnError.
func Run(ctx context.Context, s *vault.Session, o Options) (*Result, error) {
	return nil, failure.New(failure.Unsupported, "back up", "", "the archiver is being built")
}

// Group says which snapshots count as earlier ones of the same.
type Group struct{ Host, Paths, Tags bool }

// FindParent gives the snapshot that a backup by o compares with: the latest before its time of the same group, as restic
// chooses, or nil when there is none.
func FindParent(ctx context.Context, v *vault.Vault, o Options, g Group) (*snapshot.Snapshot, error) {
	return nil, failure.New(failure.Unsupported, "find the parent", "", "the archiver is being built")
}

// Command is the output of a program, as the content of a Virtual: reading ends with an error when the program fails.
type Command struct{}

// NewCommand starts a program. The caller closes it.
func NewCommand(ctx context.Context, args []string) (*Command, error) {
	return nil, failure.New(failure.Unsupported, "start a command", "", "the archiver is being built")
}

// Read reads the program's output.
func (c *Command) Read(p []byte) (int, error) { return 0, nil }

// Close ends the program if it still runs, and waits for it.
func (c *Command) Close() error { return nil }
