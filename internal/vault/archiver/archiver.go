// Package archiver puts files and directories into a vault.
//
// It lays paths out in the tree as restic does, so that snapshots of both tools compare, and encodes directories byte
// for byte alike, so that each finds the other's trees. What has not changed since the parent snapshot is not read again.
// Several files are read at once, with bounded memory. A file that cannot be read, or that changes under the reader's
// eyes, is reported and does not end the backup: the snapshot is made, and [Result.Errors] says that it is incomplete.
// It neither decides which snapshot is the parent (see [FindParent]) nor opens the vault. Start with [Run].
package archiver

import (
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Options say what is backed up, and how.
type Options struct {
	// Paths are files and directories; relative ones are taken from the working directory. A path that is not there is
	// reported to OnError; with none left Run fails with NotFound.
	Paths []string
	// Virtual are files whose content the caller gives. Without Paths the snapshot has only these.
	Virtual []Virtual

	// Exclude says by name what is left out. It does not hold for Paths themselves.
	Exclude filter.Rules
	// ExcludeIfPresent are names of files, each possibly with ":" and the beginning of its content: what is beside such a
	// file, and below, is left out, but not the file itself.
	ExcludeIfPresent []string
	// ExcludeCaches leaves out what is tagged by CACHEDIR.TAG (bford.info/cachedir).
	ExcludeCaches bool
	// ExcludeLargerThan leaves out files of more bytes; 0: none.
	ExcludeLargerThan int64
	// OneFileSystem does not go into file systems other than those of Paths. Where one is mounted an empty directory is kept.
	OneFileSystem bool

	// Parent is an earlier snapshot of the same files: what looks the same is taken from it; nil: everything is read.
	// Same means size, modification time, change time and inode; what changed while the parent was made is read again in
	// any case.
	Parent *snapshot.Snapshot
	// IgnoreInode and IgnoreCtime let them differ: file systems over a network or in user space make up new ones.
	IgnoreInode, IgnoreCtime bool
	// SkipIfUnchanged makes no snapshot when it would have the parent's tree.
	SkipIfUnchanged bool

	// WithAtime stores when files were read last. Each of them then makes new trees.
	WithAtime bool
	// FixedBlocks are patterns of files that are cut into blocks of 256 KiB instead of where their content says: disk
	// images and databases, which are changed in place. Much less is stored when single pages change; restic's own
	// backups of the same files share nothing with it.
	FixedBlocks []string

	Host string // empty: this one
	Tags []string
	Time time.Time // of the snapshot; zero: now
	// Program is what the snapshot says that it was written by; empty: lifeboat.
	Program string

	// Workers is how many files are read at once; 0: what is right for this machine.
	Workers int

	// OnError is told of what is missing from the snapshot, or may not be as it was at any one instant. An error that it
	// returns ends the backup; nil, or no OnError, goes on. It is called by one goroutine at a time.
	OnError func(path string, err error) error
	// Item, if set, is told of each file and directory that is stored. It is called by one goroutine at a time.
	Item func(Item)
	// Progress, if set, is told how far the backup is, several times a second and once at the end. To know the whole, the
	// paths are scanned beside the backup, unless NoScan is set.
	Progress func(Progress)
	NoScan   bool

	Log *slog.Logger // nil: silent
}

// Virtual is a file whose content the caller gives.
type Virtual struct {
	// Path is where it is in the tree, absolute, with slashes. Directories above it that are not backed up are made up. A
	// real file of this name is left out.
	Path    string
	Mode    fs.FileMode // permissions; 0: 0644
	ModTime time.Time   // zero: the snapshot's
	// Content is read once, to its end. An error ends the backup without a snapshot: so does a [Command] that fails.
	Content io.Reader
}

// Action is what became of an item.
type Action string

// The actions, compared with the parent.
const (
	New       Action = "new"
	Changed   Action = "modified"
	Unchanged Action = "unchanged"
	Excluded  Action = "excluded" // with all that would be below
	Vanished  Action = "vanished" // between listing its directory and looking at it
)

// Item is one thing that was looked at.
type Item struct {
	Path   string // in the tree
	Dir    bool
	Action Action
	Size   uint64 // bytes; of files
}

// Progress is how far a backup is.
type Progress struct {
	Files, Bytes uint64 // done, with what was taken from the parent
	// TotalFiles and TotalBytes are what was found so far; all there is when Scanned is true.
	TotalFiles, TotalBytes uint64
	Scanned                bool
	Errors                 int
	Current                []string // some of the files that are being read
}

// Result is what became of a backup.
type Result struct {
	// Snapshot was committed; its ID is zero when it was not: the session is a rehearsal, or nothing had changed.
	Snapshot *snapshot.Snapshot
	Summary  snapshot.Summary
	// Errors counts what was reported to OnError. With any, the snapshot does not hold all that it should.
	Errors int
	// Skipped says that nothing had changed and Options.SkipIfUnchanged forbade another snapshot.
	Skipped bool
}
