// Package pgbase puts a running PostgreSQL cluster into a vault: a base point, which is a base backup in blocks that
// points have in common.
//
// It takes the cluster over the replication protocol, from anywhere and with no access to the server's host; or, on that
// host, by reading the data folder itself, several files and blocks at once. Either way every point is whole: nothing is
// left out because an earlier one has it, only not stored twice. Page checksums are verified on the way. The log that
// makes a point consistent is not in it: that is package pglog's. Start with [Capture].
package pgbase

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options say what is captured, from where, and how.
type Options struct {
	Whose pgpoint.Whose
	Site  model.SiteID // of the server
	Tags  []string     // of the snapshot, beside those of pgpoint

	// Replication is a login with the REPLICATION attribute; nil: Server. It is not used with Folder.
	Replication *pgconn.Config
	// Server is an ordinary login. With Folder it must be allowed to call pg_backup_start and pg_backup_stop (before
	// version 15 pg_start_backup and pg_stop_backup). Without, only the clock is read with it, and it may be nil: the clock
	// is worked out then from what the server sends, to the second.
	Server *pgconn.Config
	// Folder is the server's data folder, when this process runs on its host and may read it; "": by protocol.
	Folder string
	// ReadAll reads and hashes all of Folder, and verifies all checksums. Otherwise files that were not touched since the
	// point before are taken from there without being read, and pages that were not changed without being hashed; all is
	// read at the latest when that was done a week ago. docs/decisions/0012-base-points.md says why that is safe.
	ReadAll bool

	// SystemID is the cluster that is expected; 0: that of the resource's newest base point, or any when there is none.
	SystemID uint64
	Label    string // of the backup, as backup_label has it; "": "lifeboat"
	Fast     bool   // checkpoint at once instead of spreading it over checkpoint_completion_target
	MaxRate  int64  // bytes a second that are read; 0: no bound
	Workers  int    // blocks that are worked on at once; 0: one for each core, and one that fills their waits

	// Rows and Marker are kept in the point: see pgpoint.Base. They were read before Capture was called.
	Rows   map[string]int64
	Marker *pgpoint.Marker

	// Progress, if set, is told how far the capture is, a few times a second and once at the end, from one goroutine at a
	// time.
	Progress func(Progress)
	Log      *slog.Logger // nil: silent
}

// Phase is what a capture is doing.
type Phase string

// The phases, in their order.
const (
	Starting Phase = "start"  // the server makes a checkpoint
	Copying  Phase = "copy"   // files are read and stored
	Ending   Phase = "end"    // the server ends the backup, the point is written
	Done     Phase = "finish" // no more progress comes
)

// Progress is how far a capture is.
type Progress struct {
	Phase   Phase
	Bytes   int64 // of files' content: read, or taken from the point before
	Total   int64 // estimated by the server; 0 while it is not known
	Files   int64
	Stored  int64 // bytes that were added to the vault
	Elapsed time.Duration
}

// Rate is in bytes a second, over the whole capture; 0 when nothing can be said yet.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Bytes) / p.Elapsed.Seconds()
}

// Result is a base point that was made.
type Result struct {
	Snapshot *snapshot.Snapshot
	Base     pgpoint.Base
	Stats    Stats
	// Warnings are what somebody should look at, for people: what the server warned of, links that lead out of the data
	// folder. Damaged pages are in Base.
	Warnings []string
}

// Stats are what a capture did.
type Stats struct {
	Files, Bytes int64 // of the point
	Reused       int64 // bytes that were taken from the point before without being hashed
	Unread       int64 // of them, not even read: of files that nobody has written to since
	Verified     int64 // pages whose checksum was computed
	Vault        vault.Stats
	Elapsed      time.Duration
}

// Capture makes a base point. When ctx ends, or with any other error, backup mode has ended and there is no point; what
// was stored is found by the next capture.
//
// A page whose checksum is wrong does not keep the point from being made: Base says which ones. Errors: Conflict when it is
// another cluster than expected, or the server was promoted meanwhile; Denied when the login may not back up, or the
// folder cannot be read; Invalid when Folder is not the data folder of the server; Corrupt when what arrived is not what
// the server sent; else those of the server's connection and of the vault.
func Capture(ctx context.Context, v *vault.Vault, o Options) (*Result, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	c := &capture{o: o, vault: v, root: newFolder(tree.Node{}), began: time.Now()}
	stop := c.report()
	err := c.run(ctx)
	stop()
	if err != nil {
		return nil, failure.Wrap(err, "capture", string(o.Whose.Resource))
	}
	return c.result, nil
}

// fill completes the options.
func (o *Options) fill() error {
	if o.Replication == nil {
		o.Replication = o.Server
	}
	switch {
	case o.Folder != "" && o.Server == nil, o.Replication == nil && o.Folder == "":
		return failure.New(failure.Invalid, "capture", string(o.Whose.Resource), "no login to the server is given")
	case o.MaxRate < 0:
		return failure.New(failure.Invalid, "capture", string(o.Whose.Resource), "a rate of %d bytes a second", o.MaxRate)
	}
	if o.Label == "" {
		o.Label = "lifeboat"
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0) + 1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
