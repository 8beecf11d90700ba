package api

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// VaultBackupRequest backs files and directories up. Patterns mean what they do with restic.
type VaultBackupRequest struct {
	VaultAccess
	Paths []string `json:"paths,omitempty"`
	// Files that list more paths: as patterns, one a line; as they are, one a line; as they are, each ended by a zero byte.
	// "-" is standard input.
	FilesFrom         []string `json:"files_from,omitempty"`
	FilesFromVerbatim []string `json:"files_from_verbatim,omitempty"`
	FilesFromRaw      []string `json:"files_from_raw,omitempty"`

	Exclude           []string `json:"exclude,omitempty"`
	ExcludeFold       []string `json:"exclude_fold,omitempty"` // capital and small letters alike
	ExcludeFiles      []string `json:"exclude_files,omitempty"`
	ExcludeFoldFiles  []string `json:"exclude_fold_files,omitempty"`
	ExcludeIfPresent  []string `json:"exclude_if_present,omitempty"`
	ExcludeCaches     bool     `json:"exclude_caches,omitempty"`
	ExcludeLargerThan int64    `json:"exclude_larger_than,omitempty"` // bytes
	OneFileSystem     bool     `json:"one_file_system,omitempty"`

	// Parent is the point to compare with; empty: the newest of the same GroupBy. Force compares with none.
	Parent          string `json:"parent,omitempty"`
	GroupBy         string `json:"group_by,omitempty"` // host,paths,tags
	Force           bool   `json:"force,omitempty"`
	IgnoreInode     bool   `json:"ignore_inode,omitempty"`
	IgnoreCtime     bool   `json:"ignore_ctime,omitempty"`
	SkipIfUnchanged bool   `json:"skip_if_unchanged,omitempty"`
	WithAtime       bool   `json:"with_atime,omitempty"`
	// FixedBlocks are patterns of files that change in place, such as disk images: they are cut into blocks of one size.
	FixedBlocks []string `json:"fixed_blocks,omitempty"`

	// Stdin names the one file that standard input, or with StdinCommand a program's output, becomes; empty: none.
	Stdin        string   `json:"stdin,omitempty"`
	StdinCommand []string `json:"stdin_command,omitempty"`

	Host    string    `json:"host,omitempty"` // empty: this one
	Tags    []string  `json:"tags,omitempty"`
	Time    time.Time `json:"time,omitzero"` // of the point; zero: now
	DryRun  bool      `json:"dry_run,omitempty"`
	NoScan  bool      `json:"no_scan,omitempty"` // do not look how much there is
	Workers int       `json:"workers,omitempty"` // files read at once; 0: what is right here
}

// VaultBackupReply is what became of a backup.
type VaultBackupReply struct {
	Point   *VaultPoint `json:"point,omitempty"` // nil: none was made
	DryRun  bool        `json:"dry_run,omitempty"`
	Skipped bool        `json:"skipped,omitempty"` // nothing had changed
	// Errors counts what could not be read, or changed meanwhile: with any, the point does not hold all that it should.
	// Problems names the first of them.
	Errors   int              `json:"errors"`
	Problems []*failure.Error `json:"problems,omitempty"`
	// Unmatched are patterns of FilesFrom that nothing matched.
	Unmatched []string `json:"unmatched,omitempty"`

	FilesNew        uint64         `json:"files_new"`
	FilesChanged    uint64         `json:"files_changed"`
	FilesUnmodified uint64         `json:"files_unmodified"`
	DirsNew         uint64         `json:"dirs_new"`
	DirsChanged     uint64         `json:"dirs_changed"`
	DirsUnmodified  uint64         `json:"dirs_unmodified"`
	DataBlobs       uint64         `json:"data_blobs"`
	TreeBlobs       uint64         `json:"tree_blobs"`
	DataAdded       uint64         `json:"data_added"`        // bytes
	DataAddedPacked uint64         `json:"data_added_packed"` // bytes as they are stored
	Files           uint64         `json:"total_files_processed"`
	Bytes           uint64         `json:"total_bytes_processed"`
	Took            model.Duration `json:"took"`
}

// VaultRestoreRequest brings a point, or a folder of it, back into a folder.
type VaultRestoreRequest struct {
	VaultAccess
	VaultPointFilter
	Point  string `json:"point"`
	Target string `json:"target"`

	// Includes say what is restored, excludes what is not; there are either or.
	Include          []string `json:"include,omitempty"`
	IncludeFold      []string `json:"include_fold,omitempty"`
	IncludeFiles     []string `json:"include_files,omitempty"`
	IncludeFoldFiles []string `json:"include_fold_files,omitempty"`
	Exclude          []string `json:"exclude,omitempty"`
	ExcludeFold      []string `json:"exclude_fold,omitempty"`
	ExcludeFiles     []string `json:"exclude_files,omitempty"`
	ExcludeFoldFiles []string `json:"exclude_fold_files,omitempty"`

	Overwrite   string `json:"overwrite,omitempty"` // always (also when empty), if-changed, if-newer, never
	Delete      bool   `json:"delete,omitempty"`    // what is in the target and not in the point
	Sparse      bool   `json:"sparse,omitempty"`
	Verify      bool   `json:"verify,omitempty"`
	OwnerByName bool   `json:"owner_by_name,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

// VaultRestoreReply is what a restore did, or with DryRun would do.
type VaultRestoreReply struct {
	Point   string           `json:"point"`
	Target  string           `json:"target"`
	DryRun  bool             `json:"dry_run,omitempty"`
	Entries map[string]int64 `json:"entries"` // files, folders and others: created, updated, metadata, unchanged, skipped, deleted
	Files   int64            `json:"files"`
	Bytes   int64            `json:"bytes"`
	Fetched int64            `json:"fetched"` // bytes of content that came from the vault
	Written int64            `json:"written"` // bytes
	Reused  int64            `json:"reused"`  // bytes that were in the target already
	// Failed counts what could not be restored, Problems names the first of it.
	Failed   int            `json:"failed"`
	Problems []VaultTrouble `json:"problems,omitempty"`
	// Reduced is what this user, system or file system cannot have: owners, attributes.
	Reduced    []VaultReduced `json:"reduced,omitempty"`
	DeleteHeld bool           `json:"delete_held,omitempty"` // nothing was deleted because of the problems
	// Deleted names what went, or would go: the first of it.
	Deleted     []string        `json:"deleted,omitempty"`
	Verified    int             `json:"verified,omitempty"`    // files read back
	Differences []VaultTrouble  `json:"differences,omitempty"` // that were found then
	Fallbacks   []VaultFallback `json:"fallbacks,omitempty"`
	Took        model.Duration  `json:"took"`
}

// VaultTrouble is what is wrong with one path.
type VaultTrouble struct {
	Path  string         `json:"path"`
	Error *failure.Error `json:"error"`
}

// VaultReduced is a property that could not be restored, on how many files.
type VaultReduced struct {
	What    string `json:"what"`
	Count   int    `json:"count"`
	Example string `json:"example"`
	Cause   string `json:"cause"`
}

// VaultFallback is what a replica gave because the vault itself could not.
type VaultFallback struct {
	Replica   string `json:"replica"`
	Blobs     int    `json:"blobs"`
	Bytes     int64  `json:"bytes"`
	Snapshots int    `json:"snapshots"`
	Failed    int    `json:"failed"` // how often it was asked in vain
}

// VaultCopyRequest copies points from the vault of VaultAccess to another one.
type VaultCopyRequest struct {
	VaultAccess
	VaultPointFilter
	To     VaultAccess `json:"to"`
	Points []string    `json:"points,omitempty"` // only these; empty: all that the filter matches
	DryRun bool        `json:"dry_run,omitempty"`
	Verify bool        `json:"verify,omitempty"` // read everything back from there
	Whole  bool        `json:"whole,omitempty"`  // look at every folder, also where an earlier point is there
}

// VaultCopyReply is what a copy did, or with DryRun would do.
type VaultCopyReply struct {
	From      string            `json:"from"`
	To        string            `json:"to"`
	DryRun    bool              `json:"dry_run,omitempty"`
	Copied    []VaultCopied     `json:"copied"`
	Skipped   []VaultCopied     `json:"skipped"` // there already
	Failed    []VaultCopyFailed `json:"failed,omitempty"`
	Blobs     int               `json:"blobs"`
	Bytes     int64             `json:"bytes"`  // before compression
	Stored    int64             `json:"stored"` // as they lie there
	Verified  int               `json:"verified,omitempty"`
	CutAlike  bool              `json:"cut_alike"` // what backups write to both is recognised as the same
	Fallbacks []VaultFallback   `json:"fallbacks,omitempty"`
	Took      model.Duration    `json:"took"`
}

// VaultCopied is a point in both vaults.
type VaultCopied struct {
	From string    `json:"from"`
	To   string    `json:"to,omitempty"`
	Time time.Time `json:"time"`
}

// VaultCopyFailed is a point that could not be copied.
type VaultCopyFailed struct {
	Point string         `json:"point"`
	Error *failure.Error `json:"error"`
}
