// Package restorer brings a directory of a vault back into a file system: elsewhere, or in place, where only what differs
// is fetched and written.
//
// It makes what is in the tree true in the target: content, links, devices and all metadata, whatever stands in the way.
// It follows no symbolic link below the target, so that neither a hostile tree nor a hostile user who changes the target
// meanwhile makes it write elsewhere. It chooses no snapshot and reads no patterns: the caller passes a tree and a
// Select. Start with [Run]; [Dump] writes files and archives to a stream instead.
package restorer

import (
	"log/slog"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Overwrite says what becomes of what is in the target already. Its values are those of restic's --overwrite, and mean
// the same. Directories always get the metadata of the tree.
type Overwrite string

// The ways to overwrite. The empty one is Always.
const (
	// Always makes everything as it is in the tree. What is there is read and compared, and what is right is kept.
	Always Overwrite = "always"
	// IfChanged is Always, but believes that a file of the right size and modification time has the right content.
	IfChanged Overwrite = "if-changed"
	// IfNewer replaces what is older than in the tree, and keeps the rest.
	IfNewer Overwrite = "if-newer"
	// Never keeps everything that is there.
	Never Overwrite = "never"
)

// ParseOverwrite reads one of the values; "" is Always. Anything else is Invalid.
func ParseOverwrite(text string) (Overwrite, error) {
	switch o := Overwrite(text); o {
	case "":
		return Always, nil
	case Always, IfChanged, IfNewer, Never:
		return o, nil
	}
	return "", failure.New(failure.Invalid, "restore", "", "%q is no way to overwrite", text).
		WithHint("use one of: always, if-changed, if-newer, never")
}

// Owner is a user and a group, by number.
type Owner = fsnode.UserAndGroup

// Options say where a tree is brought back to, and how. The zero value but for Target restores everything.
type Options struct {
	// Target is the directory that the tree's entries come to lie in; it is created when it is not there. When it is a
	// symbolic link, that one is followed.
	Target string
	// Root holds the metadata that Target itself gets; nil: it keeps its own.
	Root *tree.Node
	// Select decides by an entry's path in the tree (absolute, with slashes): whether it is restored, and whether anything
	// below it may be. It is called from one goroutine; Delete asks it for what is not in the tree, with dir false, as
	// restic does. Directories on the way to a selected entry are made too. nil: everything.
	Select func(path string, dir bool) (selected, below bool)

	Overwrite Overwrite
	// Delete removes from the target what the tree does not have and Select selects, after everything else succeeded: when
	// anything could not be restored, nothing is deleted. Other mounted file systems are not entered. It also lets
	// directories be replaced by files. For the target "/" it is refused without a Select, unless AllowRoot.
	Delete    bool
	AllowRoot bool
	// Protect are paths that Delete never removes, nor any directory above them. The vault's own folder is one by itself.
	Protect []string

	// Sparse leaves holes where there are long runs of zeros.
	Sparse bool
	// Verify reads everything back afterwards and compares it with the tree, metadata too.
	Verify bool
	// Sync puts everything on stable storage before Run returns.
	Sync bool
	// DryRun changes nothing; Item is told what would be done, and the Result counts it.
	DryRun bool
	// OwnerByName takes owners by the names in the tree; a name that is not known here means the number.
	OwnerByName bool
	// Owner is given everything, whatever the tree says: of data whose owner is another user here; nil: the tree's.
	Owner *Owner
	// Xattr selects extended attributes by name: others are neither set nor removed. nil: all.
	Xattr func(name string) bool

	// Workers is how many files are worked on at once; 0: a good number.
	Workers int
	// MaxEntries bounds how many entries a tree may have, for a tree can be made that unfolds without end; 0: 50 million.
	MaxEntries int

	// Progress is called from one goroutine, several times a second and once at the end. It may be nil.
	Progress func(Progress)
	// Item is called for each entry when it is settled, from one goroutine at a time. It may be nil.
	Item func(Item)
	// OnError is called for each entry that could not be restored, from one goroutine at a time. An error that it returns
	// ends the run; nil goes on. A nil OnError goes on always.
	OnError func(path string, err error) error
	Log     *slog.Logger // nil: silent
}

// Phase is what a run is doing.
type Phase string

// The phases, in their order.
const (
	Scanning  Phase = "scan"     // reading the tree; the totals still grow
	Comparing Phase = "compare"  // reading what is in the target
	Restoring Phase = "restore"  // fetching and writing
	Finishing Phase = "finish"   // links, deletions, directories' metadata
	Verifying Phase = "verify"   // reading back
	Syncing   Phase = "sync"     // waiting for stable storage
	Finished  Phase = "finished" // no more progress comes
)

// Progress is how far a run is. Totals are known once the phase is not Scanning any more.
type Progress struct {
	Phase                 Phase
	Entries, EntriesTotal int64 // everything selected: files, directories, links
	Bytes, BytesTotal     int64 // of files' content: written, or found right
	Verified, VerifyTotal int64 // bytes, in the phase Verifying
	Errors                int64
	Elapsed               time.Duration
}

// Action is what became of one entry.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"   // content
	Metadata  Action = "metadata"  // only mode, owner, times or extended attributes
	Unchanged Action = "unchanged" // nothing had to be done
	Skipped   Action = "skipped"   // Overwrite keeps what is there, or it cannot be restored at all, as sockets
	Deleted   Action = "deleted"   // it was in the target and is not in the tree, or stood in the way
)

// Item is one entry and what became of it.
type Item struct {
	Path   string // in the tree; for what was deleted, where it would be in the tree
	Type   tree.Type
	Action Action
	Size   int64 // bytes of content, of files
	Write  int64 // bytes of content that were written, or would be
}

// Problem is one entry that was not restored.
type Problem struct {
	Path string
	Err  error
}

// Reduced is a property that could not be restored here, by the rights of this user or the abilities of the file system.
type Reduced struct {
	What    string // "owner", "extended attribute security.capability", "socket", ...
	Count   int
	Example string // the path of one
	Err     error
}

// Result is what a run did; with DryRun, what it would do.
type Result struct {
	Entries map[Action]int // files, directories and others, by what became of them
	Files   int            // regular files among the entries selected
	Bytes   int64          // their content

	Fetched int64 // bytes of content that came from the vault
	Written int64 // bytes of content written; less than Fetched with holes, more when a blob lies in several places
	Reused  int64 // bytes of content that were in the target already
	Free    int64 // bytes free on the target's file system, before

	// Problems are the entries that were not restored, at most 1,000; Failed counts all. A file of which a part could not
	// be read is moved aside, to its name with ".lifeboat-incomplete" at the end: what lies under a file's own name after
	// a run that was not broken off is whole, or was there before and is listed here. What was moved aside stays until
	// somebody removes it, as Delete does.
	Problems []Problem
	Failed   int
	Reduced  []Reduced
	// DeleteHeld: there was something to delete, and it stayed because of the problems.
	DeleteHeld bool

	// Verified counts the files that were read back, Differences is what was not as it should be.
	Verified    int
	Differences []Problem

	Elapsed time.Duration
}
