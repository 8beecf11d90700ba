package api

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Vaults is everything that can be done with a vault by hand: what `lifeboat vault` calls. Each call opens the vault that
// its request names and gives it up again. Errors carry kinds of package failure: NotFound where there is no repository
// or no such point, Denied for a wrong password, Conflict while somebody else's lock stands in the way, Invalid for a
// request that cannot be meant, Corrupt for what is not as it was written.
//
// A point is named by its id, any beginning of it that only one point has, or "latest"; where a folder of it is meant,
// "ID:folder".
type Vaults interface {
	// Named gives the vault that lifeboat.yaml calls so. NotFound: there is no such vault, or no lifeboat.yaml.
	Named(ctx context.Context, name string) (*model.Vault, error)

	// Init makes a vault. Exists: there is one already.
	Init(ctx context.Context, req VaultInitRequest) (*VaultInfo, error)
	// Backup makes a point. Stdin is read where the request says so. What could not be read is in the reply.
	Backup(ctx context.Context, req VaultBackupRequest, stdin io.Reader, watch VaultWatch) (*VaultBackupReply, error)
	// Restore brings a point back. What could not be restored is in the reply, which there is also beside an error.
	Restore(ctx context.Context, req VaultRestoreRequest, watch VaultWatch) (*VaultRestoreReply, error)
	// Copy copies points to another vault. What could not be copied is in the reply, which there is also beside an error.
	Copy(ctx context.Context, req VaultCopyRequest, watch VaultWatch) (*VaultCopyReply, error)

	// ImportPgBackRest makes points and log of what a pgBackRest repository holds. What could not be imported is in the
	// reply, which there is also beside an error.
	ImportPgBackRest(ctx context.Context, req VaultImportRequest, watch VaultWatch) (*VaultImportReply, error)

	// Points lists recovery points, oldest first.
	Points(ctx context.Context, req VaultPointsRequest) ([]VaultPoint, error)
	// List yields what a point holds, a directory before its content. The first error ends it.
	List(ctx context.Context, req VaultListRequest) (*VaultListing, error)
	// Find yields what matches, point by point, newest first. The first error ends it.
	Find(ctx context.Context, req VaultFindRequest) iter.Seq2[*VaultMatch, error]
	// Cat gives one object of the vault, decrypted: JSON, or the bytes of a blob or of a pack.
	Cat(ctx context.Context, req VaultCatRequest) ([]byte, error)
	// Dump writes one file's content, or a folder as an archive.
	Dump(ctx context.Context, req VaultDumpRequest, w io.Writer) (*VaultDumpReply, error)
	// Diff compares two points.
	Diff(ctx context.Context, req VaultDiffRequest) (*VaultDiff, error)
	// Stats counts what points hold.
	Stats(ctx context.Context, req VaultStatsRequest) (*VaultStatsReply, error)
	// Check verifies the vault. What it finds is in the reply; the error is for what kept it from looking.
	Check(ctx context.Context, req VaultCheckRequest, watch VaultWatch) (*VaultCheckReply, error)

	// Forget removes points; their bytes go with a later prune. Points that stay, such as those on hold, are in the reply.
	Forget(ctx context.Context, req VaultForgetRequest, watch VaultWatch) (*VaultForgetReply, error)
	// Prune gives back the space of what no point needs, while backups go on. Planned is shown the plan before anything
	// changes; its error ends the prune; nil: nobody asks. The reply is there also beside an error, once there is a plan.
	Prune(ctx context.Context, req VaultPruneRequest, planned func(*VaultPrunePlan) error, watch VaultWatch) (*VaultPruneReply, error)
	// Retain renews, in a bucket with Object Lock, the retention of what kept points need.
	Retain(ctx context.Context, req VaultRetainRequest, watch VaultWatch) (*VaultRetainReply, error)
	// Tag changes tags, and with them the points' ids.
	Tag(ctx context.Context, req VaultTagRequest) (*VaultTagReply, error)
	// Hold puts points on legal hold, or takes them off it; their ids change.
	Hold(ctx context.Context, req VaultHoldRequest) (*VaultTagReply, error)

	// Repair repairs. What is lost for good is in the reply.
	Repair(ctx context.Context, req VaultRepairRequest, watch VaultWatch) (*VaultRepairReply, error)

	// Keys lists the passwords' ways into the vault, oldest first.
	Keys(ctx context.Context, req VaultAccess) ([]VaultKey, error)
	// AddKey lets another password open the vault.
	AddKey(ctx context.Context, req VaultKeyRequest) (*VaultKey, error)
	// RemoveKey takes one away. Conflict: it is the one that opened the vault.
	RemoveKey(ctx context.Context, req VaultKeyRequest) (*VaultKey, error)
	// ChangePassword puts another password in place of the one that opened the vault.
	ChangePassword(ctx context.Context, req VaultKeyRequest) (*VaultKey, error)

	// Unlock removes locks whose owners promised to have stopped; with All every lock.
	Unlock(ctx context.Context, req VaultUnlockRequest) (*VaultUnlockReply, error)

	// Mount shows a vault as a file system until ctx ends or it is unmounted, which is no error. Ready is called once, when
	// it can be used.
	Mount(ctx context.Context, req VaultMountRequest, ready func()) error
	// Serve serves vaults in a folder until ctx ends, which is no error. Ready is called once, when it listens.
	Serve(ctx context.Context, req VaultServeRequest, ready func(VaultServing)) error
	// Users lists who may use a server; SetUser adds one, or changes his password and his rights; RemoveUser takes him out.
	Users(ctx context.Context, req VaultUserRequest) ([]VaultUser, error)
	SetUser(ctx context.Context, req VaultUserRequest) error
	RemoveUser(ctx context.Context, req VaultUserRequest) error
}

// VaultAccess says which vault is meant, and how it is opened.
type VaultAccess struct {
	Vault model.Vault `json:"vault"`
	// Password itself, when it is at hand; nil: Vault.Password says where it is read. It is never written down.
	Password *Passphrase `json:"-"`
	// KeyHint is the beginning of the id of the key to try first.
	KeyHint string `json:"key_hint,omitempty"`
	// NoLock leaves locks out, for reading where nothing can be written.
	NoLock bool `json:"no_lock,omitempty"`
	// RetryLock is for how long to try again while somebody else's lock stands in the way.
	RetryLock model.Duration `json:"retry_lock,omitempty"`
	// Compression is auto (also when empty), off, fastest, better or max; PackSize is in bytes, zero for the usual one.
	Compression string `json:"compression,omitempty"`
	PackSize    int64  `json:"pack_size,omitempty"`
	// Replica is a copy of the vault, besides those that Vault names, that is read when something is damaged or gone.
	Replica *VaultAccess `json:"replica,omitempty"`
}

// Passphrase is a password in memory. It prints as "[redacted]".
type Passphrase string

// Format redacts for every verb.
func (Passphrase) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// MarshalText redacts.
func (Passphrase) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// VaultPointFilter says which points are meant. What is empty matches all.
type VaultPointFilter struct {
	Hosts []string   `json:"hosts,omitempty"` // one of these
	Paths []string   `json:"paths,omitempty"` // all of these
	Tags  [][]string `json:"tags,omitempty"`  // all tags of one of these lists; an empty list: a point without tags
}

// Empty reports whether every point is meant.
func (f VaultPointFilter) Empty() bool {
	return len(f.Hosts) == 0 && len(f.Paths) == 0 && len(f.Tags) == 0
}

// VaultWatch is told how far a long call is. It is called by one goroutine at a time, never after the call has returned,
// and must be quick. Nil: nobody watches.
type VaultWatch func(VaultEvent)

// VaultEvent is something that happened in a long call. Problem and Item are nil in most: then it is about the figures.
type VaultEvent struct {
	Phase string `json:"phase,omitempty"` // what is being done, for people: "backing up", "verifying packs"
	// How much is done, of how much. A total of zero is not known yet.
	Files      int64  `json:"files,omitempty"`
	TotalFiles int64  `json:"total_files,omitempty"`
	Bytes      int64  `json:"bytes,omitempty"`
	TotalBytes int64  `json:"total_bytes,omitempty"`
	Unit       string `json:"unit,omitempty"`    // what Files counts; empty: files
	Current    string `json:"current,omitempty"` // a path being worked on

	// Problem is what could not be done, while the call goes on.
	Problem *failure.Error `json:"problem,omitempty"`
	// Item is one file or directory, and what was done with it. They are many.
	Item *VaultItem `json:"item,omitempty"`
}

// VaultItem is what was done with one file or directory.
type VaultItem struct {
	Path   string `json:"path"`
	Action string `json:"action"` // new, changed, unmodified, excluded, restored, unchanged, deleted, ...
	Size   int64  `json:"size,omitempty"`
}
