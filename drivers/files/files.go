// Package files makes folders recoverable: kind "files". Recovery points of a folder are snapshots in a vault, and a
// failover brings the newest one to the other site.
//
// At a site the folder is in one of three places, side by side, and which one says what the copy is, also after a crash:
//
//	uploads                    live: the app reads and writes it
//	uploads.lifeboat-fenced    it was live, and nobody finds it any more
//	uploads.lifeboat-standby   a copy that is being made, or follows
//
// A rename moves it from one to the next. The work on bytes is done by a job on the folder's own host (package job), which
// outlives whoever began it. What the old site had and the vault had not is captured before it is written over. The driver
// watches no changes: what came after the last capture is lost with the site, and the marker says how much that is.
//
// Start with [New].
package files

import (
	"log/slog"
	"os"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "files"

// handleVersion is the version of the handles that this build writes.
const handleVersion = 1

// Driver is the files driver. It holds no state between calls but vaults that were opened a moment ago.
type Driver struct {
	log    *slog.Logger
	now    func() time.Time
	open   location.Options
	vaults vaultjob.Vaults
	// program is this binary, for hosts where it need not be installed.
	program func() (string, error)
}

// New makes the driver.
func New(log *slog.Logger) *Driver {
	return &Driver{log: log, now: time.Now, open: location.Options{Log: log}, program: os.Executable}
}

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	path := map[string]model.ValueType{"path": model.TypeText, "point": model.TypeText}
	return driver.Facts{
		Kind:     Kind,
		Summary:  "a folder, kept in a vault",
		Settings: &Settings{},
		Site:     &Site{},
		Stateful: true,
		Vault:    driver.VaultRequired,
		Outputs: map[model.Action]map[string]model.ValueType{
			model.ActionCapture:    {"point": model.TypeText, "at": model.TypeTime},
			model.ActionPromote:    {"path": model.TypeText, "point": model.TypeText, "marker": model.TypeText},
			model.ActionDrill:      path,
			model.ActionReadMarker: {"marker_at": model.TypeTime, "marker_seq": model.TypeNumber},
		},
		Verbs: map[model.Action]string{
			model.ActionPromote: "bring back", model.ActionReverse: "re-protect", model.ActionDrill: "bring back a copy of",
			model.ActionRelease: "remove the copy of", model.ActionQuiesce: "stop and capture", model.ActionCopy: "copy to the replicas:",
			model.ActionExpire: "remove what need not be kept of",
		},
		Effects: map[model.Action]string{
			model.ActionCapture: "reads the folder and adds a recovery point to the vault",
			model.ActionCopy:    "brings the vault's replicas in step",
			model.ActionExpire:  "removes recovery points that the policy does not keep, and the data that only they need",
			model.ActionFence:   "renames the folder, so that nobody finds it",
			model.ActionQuiesce: "renames the folder, so that nobody finds it, and captures it",
			model.ActionPromote: "writes what differs from the newest recovery point, then gives the folder its name",
			model.ActionReverse: "captures what was left behind, then writes what differs from the newest recovery point",
			model.ActionDrill:   "restores the newest recovery point into the drill folder, and reads it back",
			model.ActionRelease: "removes the drill folder's copy",
		},
		Timeouts: map[model.Action]time.Duration{
			model.ActionCapture: 24 * time.Hour, model.ActionCopy: 24 * time.Hour, model.ActionExpire: 6 * time.Hour,
			model.ActionFence: time.Minute, model.ActionQuiesce: 6 * time.Hour, model.ActionPromote: 24 * time.Hour,
			model.ActionReverse: 24 * time.Hour, model.ActionDrill: 24 * time.Hour, model.ActionRelease: time.Hour,
			model.ActionReadMarker: time.Minute,
		},
	}
}

// handle names a job on the host; what became of it is there.
type handle struct {
	Job string    `json:"job,omitempty"` // its folder
	At  time.Time `json:"at"`
}

var (
	_ driver.Driver       = (*Driver)(nil)
	_ driver.Capturer     = (*Driver)(nil)
	_ driver.Copier       = (*Driver)(nil)
	_ driver.Expirer      = (*Driver)(nil)
	_ driver.Lister       = (*Driver)(nil)
	_ driver.Fencer       = (*Driver)(nil)
	_ driver.Quiescer     = (*Driver)(nil)
	_ driver.Promoter     = (*Driver)(nil)
	_ driver.Reverser     = (*Driver)(nil)
	_ driver.Driller      = (*Driver)(nil)
	_ driver.Releaser     = (*Driver)(nil)
	_ driver.Canceler     = (*Driver)(nil)
	_ driver.MarkerReader = (*Driver)(nil)
	_ driver.MarkerWriter = (*Driver)(nil)
)
