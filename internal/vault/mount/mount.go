// Package mount shows a vault as a read-only file system (FUSE): every snapshot as it was, under ids/, snapshots/, hosts/
// and tags/, with restic's names and "latest" links.
//
// Files are read by ranges, and only the blobs that are needed are fetched; memory is bounded. It restores nothing and
// knows no commands. Start with [Run].
package mount

import (
	"log/slog"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Options say what is mounted and how. The zero Options mount everything as restic does.
type Options struct {
	Filter snapshot.Filter
	// Paths are templates of where snapshots are; nil: DefaultPaths. TimeFormat is how they say the time, in Go's way; "":
	// RFC 3339.
	Paths      []string
	TimeFormat string
	// OwnerRoot shows everything as owned by root. AllowOther lets other users in, with the rights that the modes give
	// them unless NoDefaultPermissions.
	OwnerRoot, AllowOther, NoDefaultPermissions bool
	// NoLock leaves out the shared lock, for a store that cannot be written to; a prune may then take away what is read.
	NoLock bool
	// Refresh is for how long a list of snapshots is good; 0: a minute.
	Refresh time.Duration
	// Memory is how many bytes of blobs and directories are kept; 0: 96 MiB. What is under way comes on top.
	Memory int64
	// Ready is called once the file system can be used; nil: nobody is.
	Ready func()
	Log   *slog.Logger     // nil: silent
	Now   func() time.Time // nil: time.Now
}

func (o Options) filled() Options {
	if len(o.Paths) == 0 {
		o.Paths = DefaultPaths()
	}
	if o.TimeFormat == "" {
		o.TimeFormat = time.RFC3339
	}
	if o.Refresh <= 0 {
		o.Refresh = time.Minute
	}
	if o.Memory <= 0 {
		o.Memory = 96 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
