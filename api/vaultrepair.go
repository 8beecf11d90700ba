package api

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// VaultRepair is a part of a repair.
type VaultRepair string

// The repairs.
const (
	// RepairAll does what loses nothing: index, packs, what replicas have; then it checks.
	RepairAll VaultRepair = "all"
	// RepairIndex makes the index agree with the packs that are stored.
	RepairIndex VaultRepair = "index"
	// RepairPacks saves what can be read of damaged packs, and removes these.
	RepairPacks VaultRepair = "packs"
	// RepairSnapshots makes points that do without what is lost.
	RepairSnapshots VaultRepair = "snapshots"
	// RepairHidden lets other programs see again what somebody hid on a bucket with Object Lock.
	RepairHidden VaultRepair = "hidden"
)

// VaultRepairRequest repairs a vault.
type VaultRepairRequest struct {
	VaultAccess
	VaultPointFilter
	What     VaultRepair `json:"what"`
	Packs    []string    `json:"packs,omitempty"`  // with packs: only these, by ids or beginnings; empty: it looks for them
	Points   []string    `json:"points,omitempty"` // with snapshots: only these
	ReadData bool        `json:"read_data,omitempty"`
	Forget   bool        `json:"forget,omitempty"` // with snapshots: remove those that were replaced
	Aside    string      `json:"aside,omitempty"`  // a folder that damaged packs are kept in; empty: they are not kept
	DryRun   bool        `json:"dry_run,omitempty"`
}

// VaultRepairReply is what a repair did, or with DryRun would do. Parts that were not asked for, or that a dry run cannot
// tell before the index is repaired, are nil.
type VaultRepairReply struct {
	What      VaultRepair        `json:"what"`
	DryRun    bool               `json:"dry_run,omitempty"`
	Index     *VaultIndexRepair  `json:"index,omitempty"`
	Packs     *VaultPacksRepair  `json:"packs,omitempty"`
	Refill    *VaultRefill       `json:"refill,omitempty"`
	Points    []VaultPointRepair `json:"points,omitempty"`
	Hidden    map[string]int     `json:"hidden,omitempty"` // objects that were hidden, by their type in restic's layout
	Check     *VaultCheckReply   `json:"check,omitempty"`  // what is still wrong; in a dry run what is wrong now
	Fallbacks []VaultFallback    `json:"fallbacks,omitempty"`
	Took      model.Duration     `json:"took"`
}

// VaultIndexRepair is what became of the index.
type VaultIndexRepair struct {
	Damaged   []VaultObjectTrouble `json:"damaged,omitempty"` // index files that could not be read: replaced
	Gone      []string             `json:"gone,omitempty"`    // packs that are listed and not stored
	Unlisted  []VaultPackFinding   `json:"unlisted,omitempty"`
	Changed   []VaultPackFinding   `json:"changed,omitempty"` // packs that are not as the index says
	Rewritten int                  `json:"rewritten"`         // index files that are replaced
	Written   int                  `json:"written"`           // index files that replace them
}

// VaultObjectTrouble is what is wrong with one object.
type VaultObjectTrouble struct {
	ID    string         `json:"id"`
	Error *failure.Error `json:"error,omitempty"`
}

// VaultPackFinding is a pack, why its list cannot be read if so, and how many blobs the index lists of it afterwards.
type VaultPackFinding struct {
	VaultObjectTrouble
	Blobs int `json:"blobs"`
}

// VaultPacksRepair is what became of damaged packs.
type VaultPacksRepair struct {
	Packs   []VaultPackRepair `json:"packs"`
	Lost    int               `json:"lost"` // blobs that nobody has
	Indexes int               `json:"indexes"`
}

// VaultPackRepair is what became of one damaged pack: where its blobs are found.
type VaultPackRepair struct {
	ID        string   `json:"id"`
	Gone      bool     `json:"gone,omitempty"` // listed, and not stored
	Elsewhere int      `json:"elsewhere"`
	Salvaged  int      `json:"salvaged"` // in what is left of it
	Fetched   int      `json:"fetched"`  // in replicas
	Lost      []string `json:"lost,omitempty"`
}

// VaultRefill is what replicas gave back.
type VaultRefill struct {
	Blobs      int           `json:"blobs"`
	Bytes      int64         `json:"bytes"`
	Points     []VaultCopied `json:"points,omitempty"`     // whose files were damaged
	Lost       []string      `json:"lost,omitempty"`       // blobs that points need and nobody has
	Unreadable []string      `json:"unreadable,omitempty"` // points that nobody has
}

// VaultPointRepair is what became of one point with something wrong.
type VaultPointRepair struct {
	Point   string      `json:"point"`
	New     string      `json:"new,omitempty"`
	Nothing bool        `json:"nothing,omitempty"` // nothing is left of it
	Losses  []VaultLoss `json:"losses,omitempty"`
	Forgot  bool        `json:"forgot,omitempty"`
}

// VaultLoss is what a repaired point lacks.
type VaultLoss struct {
	Path  string `json:"path"`
	What  string `json:"what"`
	Bytes uint64 `json:"bytes,omitempty"`
}

// VaultPruneRequest gives back the space of what no point needs.
type VaultPruneRequest struct {
	VaultAccess
	MaxUnused           string         `json:"max_unused,omitempty"` // bytes, percent or "unlimited"; empty: 5%
	MaxRepack           int64          `json:"max_repack,omitempty"` // bytes that are rewritten at most; 0: no bound
	RepackCacheableOnly bool           `json:"repack_cacheable_only,omitempty"`
	RepackSmall         bool           `json:"repack_small,omitempty"`
	RepackUncompressed  bool           `json:"repack_uncompressed,omitempty"`
	Grace               model.Duration `json:"grace,omitempty"`  // before packs that nobody needs are removed; 0: the usual; negative: none
	Wait                model.Duration `json:"wait,omitempty"`   // for how long to look for a moment in which nobody else is at work
	Drain               model.Duration `json:"drain,omitempty"`  // for how long newcomers may be kept out for that
	Forget              []string       `json:"forget,omitempty"` // count these points (ids) as gone; with DryRun only
	DryRun              bool           `json:"dry_run,omitempty"`
}

// VaultAmount counts what lies in packs.
type VaultAmount struct {
	Packs int   `json:"packs"`
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// VaultPrunePlan is what a prune would do.
type VaultPrunePlan struct {
	Used      VaultAmount `json:"used"`
	Duplicate VaultAmount `json:"duplicate"`
	Unused    VaultAmount `json:"unused"`
	Unlisted  VaultAmount `json:"unlisted"` // packs that no index lists
	Total     VaultAmount `json:"total"`

	Keep    VaultAmount `json:"keep"`
	Remove  VaultAmount `json:"remove"`  // packs of which nothing is needed
	Repack  VaultAmount `json:"repack"`  // packs that are rewritten
	Dropped VaultAmount `json:"dropped"` // what is not written again of these
	Missing int         `json:"missing"`
	Frees   int64       `json:"frees"` // bytes that are free at last

	Due      VaultAmount `json:"due"`     // waits since an earlier prune, and can go now
	Waiting  VaultAmount `json:"waiting"` // and still has to wait
	Next     *time.Time  `json:"next,omitempty"`
	Retained VaultAmount `json:"retained"` // the store keeps it
	Free     *time.Time  `json:"free,omitempty"`
	// Packs are those that do not simply stay: the first of them.
	Packs []VaultPackFate `json:"packs,omitempty"`
}

// VaultPackFate is what becomes of one pack.
type VaultPackFate struct {
	ID        string     `json:"id"`
	Bytes     int64      `json:"bytes"`
	Fate      string     `json:"fate"` // remove, repack, due, wait, kept, forget
	Why       string     `json:"why"`
	NotBefore *time.Time `json:"not_before,omitempty"`
}

// VaultPruneReply is what a prune did.
type VaultPruneReply struct {
	DryRun   bool            `json:"dry_run,omitempty"`
	Plan     *VaultPrunePlan `json:"plan"`
	Written  VaultAmount     `json:"written"`
	Hidden   VaultAmount     `json:"hidden"` // taken out of the index, to be removed after the grace
	Removed  VaultAmount     `json:"removed"`
	Relisted int             `json:"relisted"`
	Waiting  VaultAmount     `json:"waiting"`
	Next     *time.Time      `json:"next,omitempty"` // when the first of it can go: prune again after that
	Retained VaultAmount     `json:"retained"`
	Free     *time.Time      `json:"free,omitempty"`
	Took     model.Duration  `json:"took"`
}

// Changes reports whether a prune by this plan changes anything.
func (p *VaultPrunePlan) Changes() bool {
	return p.Remove.Packs+p.Repack.Packs+p.Due.Packs+p.Unlisted.Packs+p.Missing > 0
}

// VaultRetainRequest renews, in a bucket with Object Lock, the retention of what kept points need.
type VaultRetainRequest struct {
	VaultAccess
	For       model.Duration `json:"for,omitempty"`       // from now; 0: what the vault is configured with
	Threshold model.Duration `json:"threshold,omitempty"` // renew what has less left; 0: half of For
	Except    []string       `json:"except,omitempty"`    // points that are left to end
	DryRun    bool           `json:"dry_run,omitempty"`
}

// VaultRetainReply is what a renewal did, or with DryRun would do.
type VaultRetainReply struct {
	DryRun   bool           `json:"dry_run,omitempty"`
	For      model.Duration `json:"for"`
	Needed   int            `json:"needed"` // objects
	Bytes    int64          `json:"bytes"`
	Renewed  int            `json:"renewed"`  // of these, those that had too little left
	Replaced int            `json:"replaced"` // index files that are left to end
	Unneeded VaultAmount    `json:"unneeded"` // packs that are left to end: a prune removes them then
	Next     *time.Time     `json:"next,omitempty"`
}
