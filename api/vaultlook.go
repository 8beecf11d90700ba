package api

import (
	"encoding/json"
	"iter"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// VaultInitRequest makes a vault.
type VaultInitRequest struct {
	VaultAccess
	// CutLike names another vault whose chunk boundaries the new one shares, so that copies between the two deduplicate;
	// nil: boundaries of its own.
	CutLike *VaultAccess `json:"cut_like,omitempty"`
}

// VaultInfo is what a vault says of itself.
type VaultInfo struct {
	ID       string `json:"id"`
	Location string `json:"location"`
	Version  int    `json:"version"` // of the format
}

// VaultPoint is one recovery point. Fields have restic's names.
type VaultPoint struct {
	ID             string          `json:"id"`
	ShortID        string          `json:"short_id"`
	Time           time.Time       `json:"time"`
	Tree           string          `json:"tree"`
	Paths          []string        `json:"paths"`
	Hostname       string          `json:"hostname,omitempty"`
	Username       string          `json:"username,omitempty"`
	UID            uint32          `json:"uid,omitempty"`
	GID            uint32          `json:"gid,omitempty"`
	Tags           []string        `json:"tags,omitempty"`
	Excludes       []string        `json:"excludes,omitempty"`
	Parent         string          `json:"parent,omitempty"`
	Original       string          `json:"original,omitempty"`
	ProgramVersion string          `json:"program_version,omitempty"`
	Summary        json.RawMessage `json:"summary,omitempty"` // as its writer put it
}

// VaultPointsRequest lists points.
type VaultPointsRequest struct {
	VaultAccess
	VaultPointFilter
	Points []string `json:"points,omitempty"` // only these; "latest" is among those that the filter matches
	// Latest leaves only the newest so many of each host and set of paths; zero: all.
	Latest int `json:"latest,omitempty"`
}

// VaultListRequest lists what a point holds.
type VaultListRequest struct {
	VaultAccess
	VaultPointFilter          // narrows "latest"
	Point            string   `json:"point"`
	Paths            []string `json:"paths,omitempty"` // only these folders and files; empty: everything
	Recursive        bool     `json:"recursive,omitempty"`
}

// VaultListing is a point and what it holds. Entries are read from the vault while they are asked for; they are to be
// asked for once, for the vault is given up after that.
type VaultListing struct {
	Point   VaultPoint
	Entries iter.Seq2[*VaultEntry, error]
}

// VaultEntry is a file, a directory or something else in a point. Fields have restic's names.
type VaultEntry struct {
	Path        string    `json:"path"`
	Name        string    `json:"name"`
	Type        string    `json:"type"`
	Mode        uint32    `json:"mode"`        // Go's bits, as in the format
	Permissions string    `json:"permissions"` // as ls -l writes them
	UID         uint32    `json:"uid"`
	GID         uint32    `json:"gid"`
	User        string    `json:"user,omitempty"`
	Group       string    `json:"group,omitempty"`
	Size        uint64    `json:"size,omitempty"` // bytes; of files
	ModTime     time.Time `json:"mtime"`
	AccessTime  time.Time `json:"atime"`
	ChangeTime  time.Time `json:"ctime"`
	Inode       uint64    `json:"inode,omitempty"`
	Links       uint64    `json:"links,omitempty"`
	LinkTarget  string    `json:"link_target,omitempty"`
	Subtree     string    `json:"subtree,omitempty"`
}

// VaultFindRequest looks for files by name, or for what uses a blob, a tree or a pack.
type VaultFindRequest struct {
	VaultAccess
	VaultPointFilter
	Points     []string  `json:"points,omitempty"` // only in these; empty: in all that the filter matches
	Patterns   []string  `json:"patterns"`         // of names, or of paths when they have a slash; ids with Kind
	Kind       string    `json:"kind,omitempty"`   // empty: names; blob, tree, pack: beginnings of ids
	IgnoreCase bool      `json:"ignore_case,omitempty"`
	Oldest     time.Time `json:"oldest,omitzero"` // changed not before
	Newest     time.Time `json:"newest,omitzero"` // changed not after
}

// VaultMatch is something found in a point.
type VaultMatch struct {
	Point string     `json:"point"`
	Time  time.Time  `json:"time"` // the point's
	Entry VaultEntry `json:"entry"`
	// Blob is the id that matched, and Pack where it lies, when ids were looked for.
	Blob string `json:"blob,omitempty"`
	Pack string `json:"pack,omitempty"`
}

// VaultCatRequest asks for one object.
type VaultCatRequest struct {
	VaultAccess
	Kind string `json:"kind"` // config, masterkey, snapshot, index, key, lock, tree, blob, pack
	// ID, or the beginning of one for what is a file of the vault; for snapshot and tree also a point's name,
	// with ":folder" for tree; none for config and masterkey.
	ID string `json:"id,omitempty"`
}

// VaultDumpRequest asks for a file's content, or a folder as an archive.
type VaultDumpRequest struct {
	VaultAccess
	VaultPointFilter
	Point   string `json:"point"`
	Path    string `json:"path"`              // absolute in the point
	Archive string `json:"archive,omitempty"` // tar (also when empty) or zip
}

// VaultDumpReply says what was written.
type VaultDumpReply struct {
	Point string `json:"point"`
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// VaultCheckRequest says how much is verified.
type VaultCheckRequest struct {
	VaultAccess
	ReadData bool `json:"read_data,omitempty"` // every byte of every pack
	// Subset verifies the data of a part of the packs only, in restic's spelling: "1/7", "5%", "10G".
	Subset string `json:"subset,omitempty"`
}

// VaultCheckReply is what a check found. The vault is sound when there are no problems.
type VaultCheckReply struct {
	Location  string         `json:"location"`
	OK        bool           `json:"ok"`
	Problems  []VaultProblem `json:"problems"`
	Hints     []string       `json:"hints"` // unusual and harmless
	Points    int            `json:"points"`
	Trees     int            `json:"trees"`
	Files     int            `json:"files"`
	Packs     int            `json:"packs"`
	Blobs     int            `json:"blobs"`
	BytesRead int64          `json:"bytes_read"`
	Took      model.Duration `json:"took"`
}

// VaultProblem is something that is not as it was written, and what cannot be restored because of it.
type VaultProblem struct {
	Subject string         `json:"subject"`
	Error   *failure.Error `json:"error"`
	Affects []VaultPlace   `json:"affects,omitempty"`
	More    int            `json:"more,omitempty"` // affected places that are not listed
}

// VaultPlace is a path in a point.
type VaultPlace struct {
	Point string `json:"point"`
	Path  string `json:"path"`
}

// VaultKey is one password's way into the vault.
type VaultKey struct {
	ID       string    `json:"id"`
	Current  bool      `json:"current"` // it opened the vault for this call
	Created  time.Time `json:"created"`
	Username string    `json:"username,omitempty"`
	Hostname string    `json:"hostname,omitempty"`
}

// VaultKeyRequest changes the keys.
type VaultKeyRequest struct {
	VaultAccess
	Key         string      `json:"key,omitempty"` // to remove: its id, or a beginning that only one has
	NewPassword *Passphrase `json:"-"`             // to add, and to change to
	Username    string      `json:"username,omitempty"`
	Hostname    string      `json:"hostname,omitempty"`
}

// VaultLock is somebody's lock.
type VaultLock struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"` // when it was last refreshed
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
	Stale     bool      `json:"stale"` // its owner has promised to have stopped
}

// VaultUnlockRequest removes locks.
type VaultUnlockRequest struct {
	VaultAccess
	All    bool `json:"all,omitempty"`     // also those of programs that may be at work
	DryRun bool `json:"dry_run,omitempty"` // only say which
}

// VaultUnlockReply says which locks went, or with DryRun would go, and which stay.
type VaultUnlockReply struct {
	Removed []VaultLock `json:"removed"`
	Left    []VaultLock `json:"left"`
}
