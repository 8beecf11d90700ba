package api

import (
	"iter"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// VaultDiffRequest compares two points, or folders of them.
type VaultDiffRequest struct {
	VaultAccess
	VaultPointFilter
	Before   string `json:"before"`
	After    string `json:"after"`
	Metadata bool   `json:"metadata,omitempty"` // also what differs in nothing but times, modes, owners
}

// VaultDiff is what differs. Changes are read from the vault while they are asked for; they are to be asked for once, for
// the vault is given up after that. Report is nil until they have been, to their end.
type VaultDiff struct {
	Before  VaultPoint
	After   VaultPoint
	Changes iter.Seq2[*VaultChange, error]
	Report  func() *VaultDiffReport
}

// VaultChange is one path that differs.
type VaultChange struct {
	Path string `json:"path"`
	// Modifier is restic's: + added, - removed, M content, T type, U only metadata, M? content but no metadata.
	Modifier string `json:"modifier"`
	Before   uint64 `json:"size_before,omitempty"` // bytes
	After    uint64 `json:"size_after,omitempty"`
}

// VaultDiffReport sums up.
type VaultDiffReport struct {
	ChangedFiles int            `json:"changed_files"`
	Added        VaultDiffCount `json:"added"`
	Removed      VaultDiffCount `json:"removed"`
}

// VaultDiffCount is what is on one side only.
type VaultDiffCount struct {
	Files     int    `json:"files"`
	Dirs      int    `json:"dirs"`
	Others    int    `json:"others"`
	DataBlobs int    `json:"data_blobs"`
	TreeBlobs int    `json:"tree_blobs"`
	Bytes     uint64 `json:"bytes"`
}

// VaultStatsRequest counts.
type VaultStatsRequest struct {
	VaultAccess
	VaultPointFilter
	Points []string `json:"points,omitempty"`
	Mode   string   `json:"mode,omitempty"` // restore-size (also when empty), files-by-contents, blobs-per-file, raw-data
}

// VaultStatsReply is what points hold, as the mode counts it.
type VaultStatsReply struct {
	Mode   string `json:"mode"`
	Points int    `json:"points"`
	Files  uint64 `json:"total_file_count,omitempty"`
	Blobs  uint64 `json:"total_blob_count,omitempty"`
	Bytes  uint64 `json:"total_size"`
	// Of raw-data: what it would take without compression, and how much compression does.
	Uncompressed uint64  `json:"total_uncompressed_size,omitempty"`
	Ratio        float64 `json:"compression_ratio,omitempty"`
	Progress     float64 `json:"compression_progress,omitempty"` // percent of the data
	Saving       float64 `json:"compression_space_saving,omitempty"`
}

// VaultForgetRequest removes points: those that are named, or those that the policy does not keep.
type VaultForgetRequest struct {
	VaultAccess
	VaultPointFilter
	Points  []string         `json:"points,omitempty"` // when set, the policy is empty
	Policy  *model.Retention `json:"policy,omitempty"`
	GroupBy string           `json:"group_by"` // host,paths,tags; empty: all points together
	// AllowNone permits a policy to keep nothing of a group.
	AllowNone bool `json:"allow_none,omitempty"`
	// Only narrows what goes to points (ids) that were shown before; nil: all that is decided.
	Only   []string       `json:"only,omitempty"`
	Wait   model.Duration `json:"wait,omitempty"` // for how long to look for a moment in which nobody else is at work
	DryRun bool           `json:"dry_run,omitempty"`
}

// VaultForgetReply is what was decided, and what became of it.
type VaultForgetReply struct {
	DryRun bool               `json:"dry_run,omitempty"`
	Groups []VaultForgetGroup `json:"groups"`
	// Removed counts what went, or with DryRun would go.
	Removed int `json:"removed"`
	// Stayed are points that were to go and are still there.
	Stayed []VaultStayed `json:"stayed,omitempty"`
	// Prune is what the prune did that was asked for with it; the api's Forget leaves it empty.
	Prune *VaultPruneReply `json:"prune,omitempty"`
}

// VaultForgetGroup is points that are decided on together.
type VaultForgetGroup struct {
	Host  string          `json:"host,omitempty"`
	Paths []string        `json:"paths,omitempty"`
	Tags  []string        `json:"tags,omitempty"`
	Keep  []VaultDecision `json:"keep"`
	Go    []VaultDecision `json:"remove"`
}

// VaultDecision is what is to become of one point, and why.
type VaultDecision struct {
	Point   VaultPoint `json:"point"`
	Reasons []string   `json:"reasons"`
}

// VaultStayed is a point that is still there, and why.
type VaultStayed struct {
	Point     string         `json:"point"`
	Error     *failure.Error `json:"error"`
	NotBefore *time.Time     `json:"not_before,omitempty"` // when the store lets it go
}

// VaultTagRequest changes tags of points. A point whose tags change gets another id.
type VaultTagRequest struct {
	VaultAccess
	VaultPointFilter
	Points []string       `json:"points,omitempty"` // only these; empty: all that the filter matches
	Set    []string       `json:"set,omitempty"`
	Clear  bool           `json:"clear,omitempty"` // Set is meant although it is empty
	Add    []string       `json:"add,omitempty"`
	Remove []string       `json:"remove,omitempty"`
	Wait   model.Duration `json:"wait,omitempty"`
}

// VaultHoldRequest puts points on legal hold, or with End takes them off it.
type VaultHoldRequest struct {
	VaultAccess
	VaultPointFilter
	Points []string       `json:"points,omitempty"`
	Until  string         `json:"until,omitempty"` // a day or an instant; empty: until somebody ends it
	Reason string         `json:"reason,omitempty"`
	End    bool           `json:"end,omitempty"`
	Wait   model.Duration `json:"wait,omitempty"`
}

// VaultTagReply is what became of each point.
type VaultTagReply struct {
	Changed   []VaultTagged `json:"changed"`
	Unchanged int           `json:"unchanged"`
	Failed    []VaultStayed `json:"failed,omitempty"`
}

// VaultTagged is a point before and after.
type VaultTagged struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// VaultServeRequest serves vaults over restic's REST protocol until the call's context ends.
type VaultServeRequest struct {
	Folder string `json:"folder"`
	Listen string `json:"listen"` // host:port, or unix:/path
	// Cert and Key are files in PEM; SelfSigned makes them when they are empty. Without TLS only loopback and sockets are
	// listened on, unless NoTLS says that something in front does it.
	Cert       string   `json:"cert,omitempty"`
	Key        string   `json:"key,omitempty"`
	SelfSigned bool     `json:"self_signed,omitempty"`
	Hosts      []string `json:"hosts,omitempty"` // that a self-signed certificate is for
	NoTLS      bool     `json:"no_tls,omitempty"`
	Users      string   `json:"users,omitempty"` // the file of users; empty: .htpasswd in the folder
	NoAuth     bool     `json:"no_auth,omitempty"`
	AppendOnly bool     `json:"append_only,omitempty"`
	Quota      int64    `json:"quota,omitempty"` // bytes for each user
}

// VaultServing is told when the server listens.
type VaultServing struct {
	Address     string   `json:"address"` // with the port that was chosen
	URL         string   `json:"url"`     // as -r takes it; a user's name and folder come behind
	Folder      string   `json:"folder"`
	AppendOnly  bool     `json:"append_only"`
	Users       int      `json:"users"` // how many there are; -1: everybody is let in
	Certificate string   `json:"certificate,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"`
	Hosts       []string `json:"hosts,omitempty"`
}

// VaultUserRequest changes a server's file of users.
type VaultUserRequest struct {
	Folder string `json:"folder"`
	Users  string `json:"users,omitempty"`
	VaultUser
	Password *Passphrase `json:"-"` // to add
}

// VaultUser is somebody who may use a server.
type VaultUser struct {
	Name       string `json:"name"`
	Admin      bool   `json:"admin,omitempty"`       // may use every repository, and delete also where the server is append-only
	AppendOnly bool   `json:"append_only,omitempty"` // may not delete, also where others may
}

// VaultMountRequest mounts a vault as a read-only file system until the call's context ends or somebody unmounts it.
type VaultMountRequest struct {
	VaultAccess
	VaultPointFilter
	Folder     string   `json:"folder"`                // empty, and there
	Templates  []string `json:"templates,omitempty"`   // of where points are; empty: restic's
	TimeFormat string   `json:"time_format,omitempty"` // in Go's way; empty: RFC 3339
	OwnerRoot  bool     `json:"owner_root,omitempty"`
	AllowOther bool     `json:"allow_other,omitempty"`
	// NoDefaultPermissions lets, with AllowOther, others read whatever the modes say.
	NoDefaultPermissions bool `json:"no_default_permissions,omitempty"`
}
