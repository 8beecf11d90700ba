package model

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Proof is what a real restore of a recovery point said about it. It is kept where the point is.
type Proof struct {
	OK   bool      `json:"ok"`
	At   time.Time `json:"at"`
	By   RunID     `json:"by,omitempty"`
	Site SiteID    `json:"site,omitempty"` // where it was restored
	Took Duration  `json:"took"`           // from the first byte until it answered: what bringing it back costs
	// What says why it is bad; empty when it is OK.
	What string `json:"what,omitempty"`
}

// Range is a stretch of time in which a resource can be brought back to every state.
type Range struct {
	Resource ResourceID `json:"resource"`
	Site     SiteID     `json:"site,omitempty"` // whose record of changes it is
	// From and To are positions in the driver's own words; To is exclusive.
	From     string    `json:"from"`
	To       string    `json:"to"`
	FromTime time.Time `json:"from_time"`
	ToTime   time.Time `json:"to_time"`
	// VaultTo is up to where it lies in the vault; what is beyond lies in a spool at Site only. Empty: all is in the vault.
	VaultTo     string     `json:"vault_to,omitempty"`
	VaultToTime *time.Time `json:"vault_to_time,omitempty"`
	// Gap says why nothing follows directly; empty in the newest range.
	Gap string `json:"gap,omitempty"`
	// Points are the recovery points that it begins from, oldest first.
	Points []string `json:"points,omitempty"`
	// LogBytes is how much of the record of changes is kept for it, before compression; 0: not known.
	LogBytes int64 `json:"log_bytes,omitempty"`
}

// ProvePolicy says which recovery points are proved, how often, and what is asked of them.
type ProvePolicy struct {
	// Every is newest (also when empty), all, or a share such as "20%": those proved longest ago come first.
	Every string `json:"every,omitempty"`
	// Schedule is a cron expression of five fields in UTC, or @daily, @every 6h; empty: only when asked.
	Schedule string `json:"schedule,omitempty"`
	// Checks are questions to the restored copy in the resource's own language, such as SQL queries.
	Checks []string `json:"checks,omitempty"`
}

// Empty reports whether it says nothing.
func (p ProvePolicy) Empty() bool { return p.Every == "" && p.Schedule == "" && len(p.Checks) == 0 }

// The words of ProvePolicy.Every.
const (
	ProveNewest = "newest"
	ProveAll    = "all"
)

// ParseEvery gives how many of n points Every means: at least one when there is any.
func ParseEvery(every string, n int) (int, error) {
	switch every {
	case "", ProveNewest:
		return min(n, 1), nil
	case ProveAll:
		return n, nil
	}
	digits, found := strings.CutSuffix(every, "%")
	share, err := strconv.Atoi(digits)
	if !found || err != nil || share < 1 || share > 100 {
		return 0, fmt.Errorf("%q is none of newest, all, or a share such as 20%%", every)
	}
	return (n*share + 99) / 100, nil
}

// ProveSpec is what a step that proves is told.
type ProveSpec struct {
	// Point is the id of the recovery point; empty with Bisect: all are looked at.
	Point  string   `json:"point,omitempty"`
	Checks []string `json:"checks,omitempty"`
	// Bisect finds the newest state that passes Checks, instead of proving one point.
	Bisect bool `json:"bisect,omitempty"`
	// Within ends a Bisect once good and bad are no further apart in time; zero: one transaction.
	Within Duration `json:"within,omitempty"`
}

// RestoreSpec is what a step that restores is told.
type RestoreSpec struct {
	// To is the state: latest (also when empty), immediate (the point itself, once it is consistent), an instant in RFC
	// 3339, lsn:X, name:N, xid:N, before-xid:N. A kind without a record of changes knows latest and immediate.
	To string `json:"to,omitempty"`
	// Point is the recovery point to begin from, its id or the beginning of it; empty: the best one for To.
	Point string `json:"point,omitempty"`
	// Folder is where it is restored into, absolute; empty with InPlace or Name.
	Folder string `json:"folder,omitempty"`
	// Name is what the restored copy is called, for kinds whose copies have names rather than folders.
	Name string `json:"name,omitempty"`
	// Here means a folder on the machine that runs Lifeboat, rather than on the site's host.
	Here bool `json:"here,omitempty"`
	// InPlace restores into the resource's own place at the site: what differs is written over.
	InPlace bool `json:"in_place,omitempty"`
	// Run leaves the copy running; otherwise it is stopped in order once it has reached its state.
	Run bool `json:"run,omitempty"`
}

// StreamState is how the flow of a resource's changes to one site does.
type StreamState string

// The states of a stream.
const (
	StreamFlowing  StreamState = "streaming" // all that is acknowledged is on its way or here
	StreamCatching StreamState = "catching-up"
	StreamWaiting  StreamState = "waiting" // the serving copy, or the disk here, lets nothing through: it is tried again and again
	StreamHeld     StreamState = "held"    // a move has stopped it: the site is about to serve, or serves
	StreamStopped  StreamState = "stopped"
	StreamUnknown  StreamState = "unknown" // the site does not say; the serving copy may keep the record for it
)

// Stream is how the record of a resource's changes is kept at one site that receives it.
type Stream struct {
	Resource ResourceID  `json:"resource"`
	Site     SiteID      `json:"site"`           // that receives
	From     SiteID      `json:"from,omitempty"` // that it receives from
	At       time.Time   `json:"at"`             // as of when this is known
	State    StreamState `json:"state"`
	Summary  string      `json:"summary"`
	// Position is up to where everything is safe at Site, in the driver's own words.
	Position string `json:"position,omitempty"`
	// LagBytes and LagTime are what the serving copy had and Site had not; nil: not known. LagTime is what would be lost with
	// the serving copy, unless Sync.
	LagBytes *int64    `json:"lag_bytes,omitempty"`
	LagTime  *Duration `json:"lag_time,omitempty"`
	// Sync reports whether the serving copy acknowledges nothing that is not safe here too.
	Sync bool `json:"sync,omitempty"`
	// Unstored is the bytes that are safe at Site and not in the vault yet; Stored when the vault was last brought up to date.
	Unstored int64 `json:"unstored,omitempty"`
	// Spool is the bytes that lie at Site beside the vault, those that are in the vault too among them.
	Spool  int64      `json:"spool,omitempty"`
	Stored *time.Time `json:"stored,omitempty"`
	// Kept is the bytes of its record that the serving copy keeps for Site; nil: not known.
	Kept *int64 `json:"kept,omitempty"`
	// NeedsPoint says why a new recovery point is needed at once: without one, what is received cannot be restored.
	NeedsPoint string `json:"needs_point,omitempty"`
	// Held is the run that had it stopped.
	Held     RunID     `json:"held,omitempty"`
	Facts    []Fact    `json:"facts,omitempty"`
	Findings []Finding `json:"findings,omitempty"` // what is wrong now, the worst first
}
